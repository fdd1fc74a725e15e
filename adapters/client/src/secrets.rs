//! Secrets that an address names and does not contain: in the environment, or in a file.

use periplus_core::client::url::RegistryUrl;

/// What may be secret, and the two options that name a place where it is.
pub(crate) const SECRETS: [(&str, &str, &str); 2] =
    [("token", "token_env", "token_file"), ("password", "password_env", "password_file")];

/// The longest secret that is read, in bytes.
const LIMIT: usize = 16 * 1024;

/// Why a secret that an address names is not there. It never shows the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is given in several ways.
    #[error("`{first}` and `{second}` are both there: give one of them")]
    Twice {
        /// One of the options.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// There is no such variable, or it is no text.
    #[error("`{option}`: there is no variable {name} in the environment, or it is no text: export it")]
    Variable {
        /// The option.
        option: &'static str,
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("`{option}`: {path} cannot be read: {reason}")]
    File {
        /// The option.
        option: &'static str,
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// There is nothing in it, or too much, or it is several lines.
    #[error("`{option}`: {place} must hold one line of text of 1 to {LIMIT} bytes")]
    Content {
        /// The option.
        option: &'static str,
        /// The variable or the file.
        place: String,
    },
    /// There is neither an environment nor a file to read.
    #[error("`{option}`: a browser has neither environment nor files: hand the secret over in `{instead}`")]
    Browser {
        /// The option.
        option: &'static str,
        /// The option that would contain it.
        instead: &'static str,
    },
}

/// Puts the secrets that an address names into it, under the option that contains them.
///
/// # Errors
/// Says which cannot be had and why; the address is then of no use.
pub(crate) fn resolve(url: &mut RegistryUrl) -> Result<(), SecretError> {
    for (plain, variable, file) in SECRETS {
        let mut given = [plain, variable, file].into_iter().filter(|option| url.value(option).is_some());
        let Some(option) = given.next() else { continue };
        if let Some(second) = given.next() {
            return Err(SecretError::Twice { first: option, second });
        }
        if option == plain {
            continue;
        }
        let place = url.value(option).unwrap_or_default().to_owned();
        let text = read(option, plain, &place, option == file)?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.len() > LIMIT || secret.contains(char::is_control) {
            return Err(SecretError::Content { option, place });
        }
        url.query.retain(|(key, _)| key != option);
        url.query.push((plain.into(), secret.to_owned()));
    }
    Ok(())
}

#[cfg(not(target_family = "wasm"))]
fn read(option: &'static str, _plain: &'static str, place: &str, is_file: bool) -> Result<String, SecretError> {
    if is_file {
        let failed = |reason: String| SecretError::File { option, path: place.to_owned(), reason };
        return std::fs::read_to_string(place).map_err(|error| failed(error.to_string()));
    }
    // A name with such characters is none, and asking for it would panic.
    let named = !place.is_empty() && !place.contains(['=', '\0']);
    let value = named.then(|| std::env::var(place).ok()).flatten();
    value.ok_or_else(|| SecretError::Variable { option, name: place.to_owned() })
}

#[cfg(target_family = "wasm")]
fn read(option: &'static str, plain: &'static str, _place: &str, _is_file: bool) -> Result<String, SecretError> {
    Err(SecretError::Browser { option, instead: plain })
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<RegistryUrl, SecretError> {
        let mut url: RegistryUrl = text.parse().unwrap();
        resolve(&mut url).map(|()| url)
    }

    #[test]
    fn a_secret_may_be_in_the_address_in_the_environment_or_in_a_file() {
        assert_eq!(resolved("consul://a?token=t&dc=x").unwrap().value("token"), Some("t"));
        // What every test process has.
        let path = std::env::var("PATH").unwrap();
        let url = resolved("consul://a?token_env=PATH&dc=x").unwrap();
        assert_eq!((url.value("token"), url.value("token_env")), (Some(path.as_str()), None));
        let file = std::env::temp_dir().join(format!("periplus-secret-{}", std::process::id()));
        std::fs::write(&file, "secret\r\n").unwrap();
        let url = resolved(&format!("etcd://a?user=u&password_file={}", file.display())).unwrap();
        assert_eq!((url.value("password"), url.value("user")), (Some("secret"), Some("u")));
        std::fs::write(&file, "two\nlines\n").unwrap();
        let lines = resolved(&format!("etcd://a?password_file={}", file.display())).unwrap_err();
        assert!(matches!(lines, SecretError::Content { option: "password_file", .. }), "{lines}");
        assert!(!lines.to_string().contains("lines"), "{lines}");
        std::fs::write(&file, "\n").unwrap();
        assert!(resolved(&format!("etcd://a?password_file={}", file.display())).is_err());
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_secret_that_cannot_be_had_is_an_error_that_names_the_option() {
        for (query, start) in [
            ("token=a&token_env=B", "`token` and `token_env` are both there"),
            ("password_env=A&password_file=b", "`password_env` and `password_file` are both there"),
            ("token_env=NO_SUCH_VARIABLE_AT_ALL", "`token_env`: there is no variable NO_SUCH_VARIABLE_AT_ALL"),
            ("token_env=", "`token_env`: there is no variable"),
            ("token_env=a%3Db", "`token_env`: there is no variable"),
            ("token_file=no-such-file", "`token_file`: no-such-file cannot be read"),
        ] {
            let error = resolved(&format!("consul://a?{query}")).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
