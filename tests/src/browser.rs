//! A real browser, headless, driven by the WebDriver protocol (W3C WebDriver, with what chromedriver adds).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Running;
use crate::program::{find, optional};
use crate::wait::{SOON, wait_for};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What keeps the browser quiet, and to itself.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
];

/// A browser with one page. Dropping it closes it.
#[derive(Debug)]
pub struct Browser {
    base: String,
    agent: ureq::Agent,
    _driver: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with a window of this size; `None`, said on standard error, where there is no Chromium.
    ///
    /// # Panics
    /// When it is there and does not start.
    #[must_use]
    pub fn start(width: u32, height: u32) -> Option<Self> {
        if !optional(&["chromium", "chromedriver"]) {
            return None;
        }
        let profile = TempDir::new().expect("a temporary directory");
        let (driver, port) = drive();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .http_status_as_error(false)
            .build();
        let agent: ureq::Agent = config.into();
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|each| (*each).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--window-size={width},{height}"));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "binary": find("chromium")},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Self {
            base: format!("http://127.0.0.1:{port}/session"),
            agent,
            _driver: driver,
            _profile: profile,
        };
        let session = browser.post("", &wanted);
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.base = format!("{}/{id}", browser.base);
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut response = self
            .agent
            .post(format!("{}{path}", self.base))
            .send_json(body)
            .unwrap_or_else(|cause| panic!("the browser does not answer {path}: {cause}"));
        let answer: Value = response.body_mut().read_json().expect("an answer of the browser");
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].clone()
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        let _ = self.post("/url", &json!({"url": url}));
    }

    /// Runs a script in the page, the body of a function; what it returns.
    #[must_use]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true in the page.
    pub fn wait(&self, expression: &str) {
        wait_for(&format!("{expression} in the page"), PATIENCE, || {
            (self.run(&format!("return Boolean({expression})")) == Value::Bool(true)).then_some(())
        });
    }

    /// A number that an expression has in the page.
    #[must_use]
    pub fn number(&self, expression: &str) -> f64 {
        self.run(&format!("return Number({expression})")).as_f64().unwrap_or(f64::NAN)
    }

    /// Clicks on the element that a CSS selector finds, as a person would.
    pub fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|found| found.values().next()?.as_str()).expect("an element");
        let _ = self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// Types into the element that a CSS selector finds.
    pub fn type_into(&self, selector: &str, text: &str) {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|found| found.values().next()?.as_str()).expect("an element");
        let _ = self.post(&format!("/element/{id}/value"), &json!({"text": text}));
    }

    /// Makes the window another size.
    pub fn resize(&self, width: u32, height: u32) {
        let _ = self.post("/window/rect", &json!({"width": width, "height": height}));
    }

    /// What the page has complained of since the last call: warnings and errors.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.post("/se/log", &json!({"type": "browser"}));
        let lines = lines.as_array().cloned().unwrap_or_default();
        let bad = lines.iter().filter(|line| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING")));
        bad.map(|line| line["message"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// A picture of the window.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn picture(&self, file: &Path) {
        let mut response =
            self.agent.get(format!("{}/screenshot", self.base)).call().expect("an answer of the browser");
        let answer: Value = response.body_mut().with_config().limit(64 << 20).read_json().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(answer["value"].as_str().expect("a picture"))
            .expect("a picture");
        std::fs::write(file, bytes).expect("a file");
    }
}

/// Starts a driver; again where it does not get the port that it chose for both families of addresses.
fn drive() -> (Running, u16) {
    for _ in 0..10 {
        let mut driver = Running::start(Command::new("chromedriver").arg("--port=0"));
        let port = wait_for("chromedriver", SOON, || {
            let said = driver.stdout();
            let port = said.split("started successfully on port ").nth(1);
            let port = port.and_then(|rest| rest.split('.').next()?.trim().parse::<u16>().ok());
            if port.is_some() { Some(port) } else { driver.try_wait().map(|_| None) }
        });
        if let Some(port) = port {
            return (driver, port);
        }
    }
    panic!("chromedriver ends at once, again and again");
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its driver ends it.
        drop(self.agent.delete(&self.base).call());
    }
}
