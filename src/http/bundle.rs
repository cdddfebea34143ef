//! The dashboard's files, which travel in the Worker itself: no asset router stands before the proxy, and no path of the API
//! can become a page.

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// A file of the built dashboard, by its path below `/dashboard/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The page, which is the same at every address below `/dashboard/`.
    Page(File),
    /// A file whose name changes with its content.
    Hashed(File),
    Other(File),
    Missing,
    /// The Worker was built without the dashboard.
    NotBuilt,
}

const PAGE: &str = "index.html";

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

/// What is served at a path below `/dashboard/`.
pub fn find(path: &str) -> Found {
    find_in(FILES, path)
}

fn find_in(files: &[File], path: &str) -> Found {
    let named = |name: &str| files.iter().find(|file| file.path == name).copied();
    let Some(page) = named(PAGE) else { return Found::NotBuilt };
    match named(path) {
        Some(file) if path.starts_with(HASHED) => Found::Hashed(file),
        Some(file) if path != PAGE => Found::Other(file),
        None if path.starts_with(HASHED) => Found::Missing,
        _ => Found::Page(page),
    }
}

// === impl Found ===

impl Found {
    /// How long a browser may keep it. A page is asked for again, so that it names the files of the running version.
    pub fn cache_control(&self) -> &'static str {
        match self {
            Self::Hashed(_) => "public, max-age=31536000, immutable",
            Self::Page(_) | Self::Other(_) => "no-cache",
            Self::Missing | Self::NotBuilt => "no-store",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn file(path: &'static str) -> File {
        File { path, content_type: "text/plain", bytes: b"" }
    }

    #[test]
    fn every_address_is_the_page_but_those_of_files() {
        let files = [file("index.html"), file("assets/app-1.js"), file("favicon.svg")];
        for path in ["", "index.html", "acct/gw/logs", "assets", "../etc", "sign-in", "app-1.js"] {
            assert_eq!(find_in(&files, path), Found::Page(files[0]), "{path}");
        }
        assert_eq!(find_in(&files, "assets/app-1.js"), Found::Hashed(files[1]));
        assert_eq!(find_in(&files, "favicon.svg"), Found::Other(files[2]));
        // A browser would keep the page for a year as that script.
        for path in ["assets/app-2.js", "assets/", "assets/app-1.js/x"] {
            assert_eq!((find_in(&files, path), find_in(&files, path).cache_control()), (Found::Missing, "no-store"));
        }
        assert_eq!(find_in(&[], ""), Found::NotBuilt);
    }
}
