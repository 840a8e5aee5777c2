//! Which requests are answered at all: those of pages that this server has sent.
//!
//! Any page in a browser can send requests to the loopback interface, and a name that an attacker controls can come to mean it
//! (DNS rebinding). So the `Host` has to be this server's, and what a browser says about a request's origin has to be this server's page.

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};

/// Why a request is refused, if it is.
///
/// `is_page` says whether it is for the page itself, to which links may lead from anywhere.
pub fn refusal(method: &Method, headers: &HeaderMap, port: u16, is_page: bool) -> Option<String> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let own = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{port}"));
    let is_own = |host: &str| own.iter().any(|name| name.eq_ignore_ascii_case(host));
    let host = text(HOST.as_str()).unwrap_or("none");
    if headers.get_all(HOST).iter().count() != 1 || !is_own(host) {
        return Some(format!("the Host {host} is not this laboratory; open http://127.0.0.1:{port}/"));
    }
    if let Some(origin) = text(ORIGIN.as_str())
        && !origin.strip_prefix("http://").is_some_and(is_own)
    {
        return Some(format!("a page of {origin} may not ask this laboratory"));
    }
    let is_followed_link =
        is_page && text("sec-fetch-mode") == Some("navigate") && text("sec-fetch-dest") == Some("document");
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
        && !is_followed_link
    {
        return Some(format!("a {site} page may not ask this laboratory"));
    }
    // A form of another page cannot send this type without being asked about its origin.
    let is_json = text(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
    match *method {
        Method::GET => None,
        Method::POST if is_json => None,
        Method::POST => Some("content-type has to be application/json".into()),
        _ => Some(format!("{method} is not answered here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        refused_at(false, method, headers)
    }

    fn refused_at(is_page: bool, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        refusal(&method, &headers.collect(), 8000, is_page).is_some()
    }

    #[test]
    fn only_pages_of_this_server_are_answered() {
        let json = ("content-type", "application/json");
        for host in ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000"] {
            assert!(!refused(Method::GET, &[("host", host)]), "{host}");
            assert!(!refused(Method::POST, &[("host", host), json]));
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "rebound.example:8000",
            "localhost.example:8000",
            "127.0.0.1:8000.example",
            "",
        ] {
            assert!(refused(Method::GET, &[("host", host)]), "{host}");
        }
        assert!(refused(Method::GET, &[]));
        let host = ("host", "127.0.0.1:8000");
        assert!(!refused(
            Method::POST,
            &[host, json, ("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")]
        ));
        for origin in ["http://example.com", "https://127.0.0.1:8000", "http://127.0.0.1:8001", "null"] {
            assert!(refused(Method::GET, &[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(refused(Method::GET, &[host, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!refused(Method::GET, &[host, ("sec-fetch-site", "none")]));
        assert!(refused(Method::POST, &[host, ("content-type", "text/plain")]));
        assert!(refused(Method::POST, &[host]));
        assert!(refused(Method::DELETE, &[host, json]));
        // A link that somebody follows, and nothing else of another page.
        let (site, link) =
            (("sec-fetch-site", "cross-site"), [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]);
        assert!(!refused_at(true, Method::GET, &[host, site, link[0], link[1]]));
        assert!(refused_at(false, Method::GET, &[host, site, link[0], link[1]]));
        assert!(refused_at(
            true,
            Method::GET,
            &[host, site, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]
        ));
        assert!(refused_at(
            true,
            Method::GET,
            &[host, site, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]
        ));
    }
}
