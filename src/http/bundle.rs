//! The dashboard's files, which stand beside the Worker and are asked for by its binding `ASSETS`: no asset router stands before the
//! proxy, and no path of the API can become a page.

/// What is served at a path below `/dashboard/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The page, which is the same at every address below `/dashboard/`.
    Page,
    /// A file whose name changes with its content.
    File { name: &'a str, content_type: &'static str },
    /// No file has such a name.
    Missing,
}

pub const PAGE: &str = "index.html";
pub const PAGE_TYPE: &str = "text/html; charset=utf-8";

/// What the names of files begin with that have a hash in them.
const HASHED: &str = "assets/";

/// What a page may load, run and be shown in.
pub const PAGE_HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
         connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types tollgate-worker",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("x-frame-options", "DENY"),
];

/// What is asked for by a path below `/dashboard/`.
pub fn asked(path: &str) -> Asked<'_> {
    let Some(name) = path.strip_prefix(HASHED) else { return Asked::Page };
    // Nothing else is a name that the dashboard's build gives, and no other path leaves the folder.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let content_type = content_type(name).filter(|_| name.bytes().all(is_plain) && !name.starts_with('.'));
    content_type.map_or(Asked::Missing, |content_type| Asked::File { name: path, content_type })
}

fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" => "application/json",
        _ => return None,
    })
}

// === impl Asked ===

impl Asked<'_> {
    /// How long a browser may keep it. A page is asked for again, so that it names the files of the running version.
    pub fn cache_control(&self) -> &'static str {
        match self {
            Self::File { .. } => "public, max-age=31536000, immutable",
            Self::Page => "no-cache",
            Self::Missing => "no-store",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_the_page_but_those_of_files() {
        for path in ["", "index.html", "acct/gw/logs", "assets", "../etc", "sign-in", "app-1.js", "favicon.svg"] {
            assert_eq!(asked(path), Asked::Page, "{path}");
        }
        let script = Asked::File { name: "assets/app-1_x.js", content_type: "text/javascript; charset=utf-8" };
        assert_eq!(asked("assets/app-1_x.js"), script);
        assert_eq!(script.cache_control(), "public, max-age=31536000, immutable");
        // A browser would keep what is answered for a year as that script.
        for path in [
            "assets/",
            "assets/app",
            "assets/app-1.js/x",
            "assets/../index.html",
            "assets/..%2findex.js",
            "assets/.js",
            "assets/a.html",
            "assets/a.js?x",
        ] {
            assert_eq!((asked(path), asked(path).cache_control()), (Asked::Missing, "no-store"), "{path}");
        }
    }
}
