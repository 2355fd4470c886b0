//! Whether what tests compare with is to be written anew.

use std::env;

/// Whether this variable is set, which CI must not do: nothing would be compared.
pub fn is_updated(variable: &str) -> bool {
    let is_set = env::var_os(variable).is_some();
    let under_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !(is_set && under_ci),
        "{variable} is set under CI=true, where nothing would be compared: unset it"
    );
    is_set
}
