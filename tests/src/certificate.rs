//! Certificates for servers under test.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::run;
use crate::wait::SOON;

/// Makes `server.crt` and `server.key` in a directory: a certificate for a host, signed by itself.
///
/// # Panics
/// When openssl can't.
pub fn certify(directory: &Path, host: &str) {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", &format!("/CN={host}"), "-keyout"]).arg(directory.join("new.key"));
    drop(run(command.arg("-out").arg(directory.join("new.crt")), SOON).expect_success());
    for ending in ["key", "crt"] {
        let (from, to) = (format!("new.{ending}"), format!("server.{ending}"));
        fs::rename(directory.join(from), directory.join(to)).unwrap();
    }
}
