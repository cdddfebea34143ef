//! To which trace a request belongs: the headers of Cloudflare's gateway, W3C's `traceparent`, or a trace of its own.
//! <https://www.w3.org/TR/trace-context/>

/// 16 bytes, not all zero.
pub type TraceId = [u8; 16];

/// 8 bytes, not all zero.
pub type SpanId = [u8; 8];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: TraceId,
    pub parent: Option<SpanId>,
    /// What the caller has decided on sampling, if it has.
    pub is_sampled: Option<bool>,
}

/// What the spans of one request have in common: the request's own is the parent of those of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: TraceId,
    /// The request's own span.
    pub root: SpanId,
    pub parent: Option<SpanId>,
    /// When the request came, in milliseconds.
    pub begun: u64,
}

// === impl TraceContext ===

impl TraceContext {
    /// From `cf-aig-otel-trace-id` and `cf-aig-otel-parent-span-id`, else from `traceparent`. What is malformed counts as not sent.
    pub fn of(trace_id: Option<&str>, parent_id: Option<&str>, traceparent: Option<&str>) -> Option<Self> {
        let own = trace_id.and_then(id::<16>);
        own.map(|trace| Self { trace, parent: parent_id.and_then(id::<8>), is_sampled: None })
            .or_else(|| traceparent.and_then(Self::parse))
    }

    /// `00-<trace>-<parent>-<flags>`. A later version may have more behind it.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = bytes::<1>(version)?;
        let [flags] = bytes::<1>(flags)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace: id(trace)?, parent: Some(id(parent)?), is_sampled: Some(flags & 1 == 1) })
    }
}

// === impl Trace ===

impl Trace {
    /// `None` where the caller has decided that the trace is not to be sampled.
    pub fn begin(context: Option<TraceContext>, random: [u128; 2], now_ms: u64) -> Option<Self> {
        if context.is_some_and(|context| context.is_sampled == Some(false)) {
            return None;
        }
        let [first, second] = random;
        let id = context.map_or_else(|| (first | 1).to_be_bytes(), |context| context.trace);
        let parent = context.and_then(|context| context.parent);
        Some(Self { id, root: span_id(second), parent, begun: now_ms })
    }

    /// A request that this one makes.
    pub fn within(&self, random: u128, now_ms: u64) -> Self {
        Self { root: span_id(random), parent: Some(self.root), begun: now_ms, ..*self }
    }
}

/// A span's id of random bits.
pub fn span_id(random: u128) -> SpanId {
    (random as u64 | 1).to_be_bytes()
}

/// Whether a destination that takes a part of all traces takes this one: every span of a trace is decided alike, and so by each
/// exporter that decides by the id's last bytes.
pub fn is_taken(trace: &TraceId, part: f64) -> bool {
    let last = trace.iter().skip(9).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    part >= 1.0 || (last as f64) < part * (1_u64 << 56) as f64
}

fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    bytes(text).filter(|id| id.iter().any(|byte| *byte != 0))
}

/// Bytes in small hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut made = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in made.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn own_headers_count_before_traceparent_and_what_is_malformed_counts_as_missing() {
        let header = format!("00-{TRACE}-{PARENT}-01");
        let found = TraceContext::of(None, None, Some(&header)).unwrap();
        assert_eq!((found.trace[0], found.parent.map(|id| id[7]), found.is_sampled), (0x4b, Some(0xb7), Some(true)));
        let other = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let found = TraceContext::of(Some(other), Some(PARENT), Some(&header)).unwrap();
        assert_eq!((found.trace, found.parent.is_some(), found.is_sampled), ([0xaa; 16], true, None));
        for wrong in [Some("xyz"), TRACE.get(1..), Some("00000000000000000000000000000000"), None] {
            assert_eq!(TraceContext::of(wrong, None, Some(&header)).unwrap().trace[0], 0x4b, "{wrong:?}");
        }
        let later = format!("cc-{TRACE}-{PARENT}-00-what-is-new");
        assert_eq!(TraceContext::of(None, None, Some(&later)).unwrap().is_sampled, Some(false));
        for wrong in [
            String::new(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-01-x"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
        ] {
            assert_eq!(TraceContext::of(None, None, Some(&wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_trace_goes_on_with_what_the_caller_has_begun() {
        let context = TraceContext::of(None, None, Some(&format!("00-{TRACE}-{PARENT}-01")));
        let trace = Trace::begin(context, [5, 6], 7).unwrap();
        assert_eq!(
            (trace.id[0], trace.parent.map(|id| id[7]), trace.root, trace.begun),
            (0x4b, Some(0xb7), span_id(6), 7)
        );
        let inner = trace.within(9, 8);
        assert_eq!((inner.id, inner.parent, inner.root), (trace.id, Some(trace.root), span_id(9)));
        let own = Trace::begin(None, [0, 0], 0).unwrap();
        assert!(own.parent.is_none() && own.id != [0; 16] && own.root != [0; 8]);
        let unsampled = TraceContext::of(None, None, Some(&format!("00-{TRACE}-{PARENT}-00")));
        assert_eq!(Trace::begin(unsampled, [5, 6], 7), None);
    }

    #[test]
    fn a_part_of_all_traces_is_taken() {
        let trace = |number: u64| {
            let mut id = [7; 16];
            id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            id
        };
        let taken = |part: f64| (0..10_000).filter(|number| is_taken(&trace(*number), part)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
        assert!((900..1_100).contains(&taken(0.1)), "{}", taken(0.1));
    }
}
