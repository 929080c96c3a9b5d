//! The token: made at the first start, kept in the runtime directory for our user only.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use api::Token;

/// Name of the file.
const FILE: &str = "token";
/// What is read of it.
const MOST_BYTES: u64 = 4096;

/// The token of this runtime directory; made when there is none. One that others could have read or written is replaced.
pub(super) fn keep(directory: &Path) -> io::Result<Token> {
    let path = directory.join(FILE);
    if let Some(token) = read(&path)? {
        return Ok(token);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let token = Token::from_random(&secret);
    fs::create_dir_all(directory)?;
    let temporary = directory.join("token.tmp");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", token.reveal())?;
    fs::rename(&temporary, &path)?;
    Ok(token)
}

fn read(path: &Path) -> io::Result<Option<Token>> {
    // A symbolic link or a pipe of somebody else's is not followed.
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let facts = file.metadata()?;
    let ours = facts.is_file() && facts.mode() & 0o077 == 0 && facts.uid() == nix::unistd::geteuid().as_raw();
    if !ours {
        tracing::warn!("{} could be read or written by others: a new token is made", path.display());
        return Ok(None);
    }
    let mut text = String::new();
    let read = file.take(MOST_BYTES).read_to_string(&mut text);
    Ok(read.ok().and_then(|_| Token::read(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_for_our_user_only_and_replaced_when_others_could_see_it() {
        let directory = tempfile::tempdir().unwrap();
        let token = keep(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(keep(directory.path()).unwrap(), token);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let next = keep(directory.path()).unwrap();
        assert_ne!(next, token);
        fs::write(&path, "short").unwrap();
        assert_ne!(keep(directory.path()).unwrap(), next);
    }
}
