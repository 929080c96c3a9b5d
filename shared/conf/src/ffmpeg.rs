//! Engines as the arguments of an ffmpeg. They go to the program one by one and never through a shell.

use crate::encode::{Engine, Ingest, IngestSource, Pair};

/// An ffmpeg to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Name of the engine; empty when it has none.
    pub engine: String,
    /// All arguments.
    pub arguments: Vec<String>,
    /// Where it publishes to.
    pub output: String,
}

impl Ingest {
    /// The commands of an ingest by ffmpeg: one for each engine, or one that copies when there is none. `port` is that of
    /// the first RTMP listener.
    ///
    /// # Errors
    /// A sentence that says what is wrong with an engine.
    pub fn commands(&self, vhost: &str, port: u16, log_level: &str) -> Result<Vec<Command>, String> {
        let copy =
            Engine { output: self.output.clone(), oformat: Some("flv".to_owned()), ..Engine::default() };
        let engines = if self.engines.is_empty() { std::slice::from_ref(&copy) } else { &self.engines };
        engines.iter().map(|engine| self.command(engine, vhost, port, log_level)).collect()
    }

    fn command(&self, engine: &Engine, vhost: &str, port: u16, log_level: &str) -> Result<Command, String> {
        let template = if engine.output.is_empty() { &self.output } else { &engine.output };
        let output = template
            .replace("[vhost]", vhost)
            .replace("[port]", &port.to_string())
            .replace("[ingest]", &self.id)
            .replace("[engine]", &engine.name);
        if !output.contains("://") {
            return Err(format!("engine {}: the output {output} is not a URL", engine.name));
        }
        let (input, is_file) = match &self.source {
            IngestSource::File(path) => (path.to_string_lossy().into_owned(), true),
            IngestSource::Stream(url) => (url.clone(), false),
        };
        let mut arguments = Arguments::default();
        arguments.option("hide_banner").option("nostdin").pair("loglevel", log_level);
        if is_file {
            arguments.option("re");
        }
        arguments.free(&engine.perfile);
        if let Some(format) = engine.iformat.as_ref().filter(|_| input.starts_with("rtmp://")) {
            arguments.pair("f", format);
        }
        arguments.pair("i", &input).free(&engine.vfilter);
        // An engine that is off, or says only half, copies.
        let encodes = engine.enabled && engine.vcodec.is_some() && engine.acodec.is_some();
        let codecs = if encodes { engine.clone() } else { Engine::default() };
        arguments.codecs(&codecs)?;
        if let Some(format) = &engine.oformat {
            arguments.pair("f", format);
        }
        arguments.pair("y", &output);
        Ok(Command { engine: engine.name.clone(), arguments: arguments.0, output })
    }
}

#[derive(Debug, Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn option(&mut self, name: &str) -> &mut Self {
        self.0.push(format!("-{name}"));
        self
    }

    fn pair(&mut self, name: &str, value: &str) -> &mut Self {
        self.option(name).0.push(value.to_owned());
        self
    }

    fn number(&mut self, name: &str, value: u32) -> &mut Self {
        if value > 0 {
            self.pair(name, &value.to_string());
        }
        self
    }

    fn free(&mut self, pairs: &[Pair]) -> &mut Self {
        for pair in pairs {
            self.option(&pair.key).0.extend(pair.values.iter().cloned());
        }
        self
    }

    fn codecs(&mut self, engine: &Engine) -> Result<(), String> {
        let video = engine.vcodec.as_deref().unwrap_or("copy");
        let audio = engine.acodec.as_deref().unwrap_or("copy");
        if (video, audio) == ("vn", "an") {
            return Err(format!("engine {}: neither picture nor sound is left (vn and an)", engine.name));
        }
        match video {
            "vn" => {
                self.option("vn");
            }
            "copy" => {
                self.pair("vcodec", "copy").free(&engine.vparams);
            }
            codec => {
                self.pair("vcodec", codec).number("b:v", engine.vbitrate.saturating_mul(1000));
                if engine.vfps > 0.0 {
                    self.pair("r", &format!("{:.2}", engine.vfps));
                }
                if engine.vwidth > 0 && engine.vheight > 0 {
                    self.pair("s", &format!("{}x{}", engine.vwidth, engine.vheight))
                        .pair("aspect", &format!("{}:{}", engine.vwidth, engine.vheight));
                }
                self.number("threads", engine.vthreads);
                for (name, value) in [("profile:v", &engine.vprofile), ("preset", &engine.vpreset)] {
                    if let Some(value) = value {
                        self.pair(name, value);
                    }
                }
                self.free(&engine.vparams);
            }
        }
        match audio {
            "an" => {
                self.option("an");
            }
            "copy" => {
                self.pair("acodec", "copy").free(&engine.aparams);
            }
            codec => {
                self.pair("acodec", codec)
                    .number("b:a", engine.abitrate.saturating_mul(1000))
                    .number("ar", engine.asample_rate)
                    .number("ac", engine.achannels)
                    .free(&engine.aparams);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Environment, parse_text};

    fn commands(ingest: &str) -> Result<Vec<String>, String> {
        let text =
            format!("listen 1935; vhost v.example {{ ingest in {{ enabled on; ffmpeg ./f; {ingest} }} }}");
        let config = parse_text("x", text.as_bytes(), &Environment::empty()).unwrap().config;
        let commands = config.vhosts[0].ingests[0].commands("v.example", 1935, "info")?;
        Ok(commands.iter().map(|command| command.arguments.join(" ")).collect())
    }

    #[test]
    fn arguments_stand_in_their_order() {
        let head = "-hide_banner -nostdin -loglevel info";
        assert_eq!(
            commands("input { url a.mp4; }").unwrap(),
            [format!(
                "{head} -re -i a.mp4 -vcodec copy -acodec copy -f flv -y rtmp://127.0.0.1:1935/live/in?vhost=v.example"
            )]
        );
        let engine = "input { type stream; url rtmp://h/a/b; } engine hd { enabled on; perfile { rw_timeout 5; } \
                      vfilter { vf scale=1:2; } vcodec libx264; vbitrate 500; vfps 25; vwidth 641; vheight 360; \
                      vthreads 2; vprofile main; vpreset fast; vparams { g 50; } acodec aac; abitrate 64; \
                      asample_rate 44100; achannels 2; aparams { profile:a aac_low; } \
                      output rtmp://127.0.0.1:[port]/live/[engine]?vhost=[vhost]; }";
        assert_eq!(
            commands(engine).unwrap(),
            [format!(
                "{head} -rw_timeout 5 -f flv -i rtmp://h/a/b -vf scale=1:2 -vcodec libx264 -b:v 500000 -r 25.00 \
                 -s 640x360 -aspect 640:360 -threads 2 -profile:v main -preset fast -g 50 -acodec aac -b:a 64000 \
                 -ar 44100 -ac 2 -profile:a aac_low -f flv -y rtmp://127.0.0.1:1935/live/hd?vhost=v.example"
            )]
        );
    }

    #[test]
    fn an_engine_that_is_off_copies_and_one_without_tracks_is_refused() {
        let off = "input { url a.flv; } engine { vcodec libx264; acodec aac; output rtmp://h/a/b; }";
        assert!(commands(off).unwrap()[0].contains("-vcodec copy -acodec copy"));
        let mute = "input { url a.flv; } engine x { enabled on; vcodec vn; acodec an; output rtmp://h/a/b; }";
        assert!(commands(mute).unwrap_err().contains("engine x"));
        for (oformat, words) in
            [("", "-f flv -y"), ("oformat off;", "aac -y"), ("oformat mpegts;", "-f mpegts -y")]
        {
            let engine = format!(
                "input {{ url a.flv; }} engine e {{ enabled on; vcodec vn; acodec aac; {oformat} output udp://h:1; }}"
            );
            let command = &commands(&engine).unwrap()[0];
            assert!(command.ends_with(&format!("{words} udp://h:1")), "{oformat}: {command}");
        }
        assert!(commands("input { url a.flv; } engine y { output x; }").unwrap_err().contains("engine y"));
    }
}
