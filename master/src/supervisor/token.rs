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

/// The token of this runtime directory; `None` when there is none, or when others could have read or written it.
pub(super) fn read_kept(directory: &Path) -> Option<Token> {
    match read(&directory.join(FILE)) {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!("the token in {} can't be read: {error}", directory.display());
            None
        }
    }
}

/// A token that nobody knows yet.
///
/// # Errors
/// When there are no random numbers.
pub(super) fn fresh() -> io::Result<Token> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(Token::from_random(&secret))
}

/// Keeps a token in this runtime directory, for our user only.
///
/// # Errors
/// When the file can't be written.
pub(super) fn write(directory: &Path, token: &Token) -> io::Result<()> {
    let temporary = directory.join("token.tmp");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", token.reveal())?;
    fs::rename(&temporary, directory.join(FILE))
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
        tracing::warn!("{} could be read or written by others: it is replaced", path.display());
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
        assert_eq!(read_kept(directory.path()), None);
        let token = fresh().unwrap();
        write(directory.path(), &token).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_kept(directory.path()), Some(token.clone()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_kept(directory.path()), None);
        write(directory.path(), &token).unwrap();
        assert_eq!(read_kept(directory.path()), Some(token));
        fs::write(&path, "short").unwrap();
        assert_eq!(read_kept(directory.path()), None);
    }
}
