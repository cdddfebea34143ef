//! Figures as Prometheus reads them: its own text format, and OpenMetrics.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://github.com/prometheus/OpenMetrics>

use crate::base::number;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

/// A page as it is written.
pub struct Page {
    format: Format,
    text: String,
}

/// Names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

// === impl Format ===

impl Format {
    /// What a client asks for by its header `accept`.
    pub fn of(accept: Option<&str>) -> Self {
        let asks = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if asks { Self::OpenMetrics } else { Self::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Page ===

impl Page {
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family of samples. Counters are named without `_total`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = if kind == "counter" && self.format == Format::Text { "_total" } else { "" };
        for (word, text) in [("HELP", help), ("TYPE", kind)] {
            self.text.extend(["# ", word, " ", name, suffix, " ", text, "\n"]);
        }
    }

    pub fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, value: f64) {
        self.text.extend([name, suffix]);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.text.extend([if place == 0 { "{" } else { "," }, label, "=\""]);
            for char in text.chars() {
                match char {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    char => self.text.push(char),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.text.extend([" ", &number::text(value), "\n"]);
    }

    /// A histogram: counts of values up to each bound, that of all others, and their sum.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, counts: &[(String, f64)], sum: f64) {
        let mut total = 0.0;
        for (bound, count) in counts {
            total += count;
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(name, "_bucket", &labels, total);
        }
        self.sample(name, "_count", labels, total);
        self.sample(name, "_sum", labels, sum);
    }

    pub fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family("t_requests", "counter", "How many.");
        page.sample("t_requests", "_total", &[("model", "a\"b\\c\nd")], 3.0);
        page.family("t_seconds", "histogram", "How long.");
        page.histogram("t_seconds", &[("m", "x")], &[("0.5".to_owned(), 2.0), ("+Inf".to_owned(), 1.0)], 1.25);
        page.family("t_info", "gauge", "Which.");
        page.sample("t_info", "", &[], 1.0);
        page.end()
    }

    #[test]
    fn both_formats_are_as_their_standards_show() {
        let rest = "_total{model=\"a\\\"b\\\\c\\nd\"} 3\n# HELP t_seconds How long.\n# TYPE t_seconds histogram\n\
                    t_seconds_bucket{m=\"x\",le=\"0.5\"} 2\nt_seconds_bucket{m=\"x\",le=\"+Inf\"} 3\nt_seconds_count{m=\"x\"} 3\n\
                    t_seconds_sum{m=\"x\"} 1.25\n# HELP t_info Which.\n# TYPE t_info gauge\nt_info 1\n";
        let text = format!("# HELP t_requests_total How many.\n# TYPE t_requests_total counter\nt_requests{rest}");
        assert_eq!(page(Format::Text), text);
        let open = format!("# HELP t_requests How many.\n# TYPE t_requests counter\nt_requests{rest}# EOF\n");
        assert_eq!(page(Format::OpenMetrics), open);
        assert_eq!((Format::of(None), Format::of(Some("text/plain"))), (Format::Text, Format::Text));
        assert_eq!(
            Format::of(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")),
            Format::OpenMetrics
        );
    }
}
