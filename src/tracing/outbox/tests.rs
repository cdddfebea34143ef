use super::*;
use crate::tracing::spans::tests::{exporter, span};

const NOW: u64 = 1_700_000_000_000;

fn key(all: &[(Rc<Exporter>, Parcel)]) -> Vec<(&str, u64)> {
    all.iter().map(|(exporter, parcel)| (exporter.destination.id.as_str(), parcel.spans)).collect()
}

#[test]
fn the_first_span_leads_and_all_that_waits_is_packed_by_destination() {
    let (mut outbox, a, b) = (Outbox::default(), exporter("a"), exporter("b"));
    assert!(outbox.push(&a, span(10), NOW));
    assert!(!outbox.push(&b, span(10), NOW + 1) && !outbox.push(&a, span(10), NOW + WINDOW_MS));
    assert_eq!(key(&outbox.pack(MOST_BYTES, NOW)), [("a", 2), ("b", 1)]);
    assert!(outbox.is_empty() && outbox.push(&a, span(10), NOW));
    // A leader that never came has another one follow it.
    assert!(outbox.push(&a, span(10), NOW + WINDOW_MS + LATE_MS + 1));
}

#[test]
fn long_spans_are_packed_apart_and_what_is_too_much_is_counted() {
    let (mut outbox, a) = (Outbox::default(), exporter("a"));
    for _ in 0..70 {
        outbox.push(&a, span(60_000), NOW);
    }
    let dropped = outbox.counted();
    let packed = outbox.pack(MOST_BYTES, NOW);
    assert!(packed.iter().all(|(_, parcel)| parcel.body.length() <= MOST_BYTES) && packed.len() >= 4);
    let sent: u64 = packed.iter().map(|(_, parcel)| parcel.spans).sum();
    assert_eq!((sent + dropped[0].count.dropped, dropped[0].count.dropped > 0), (70, true));
    for (exporter, parcel) in packed {
        outbox.hold(exporter, parcel);
    }
    for _ in 0..30 {
        outbox.push(&a, span(60_000), NOW);
    }
    for (exporter, parcel) in outbox.pack(MOST_BYTES, NOW) {
        outbox.hold(exporter, parcel);
    }
    let dropped = outbox.counted();
    let mut held = 0;
    while let Some((_, parcel)) = outbox.next(&a) {
        held += parcel.spans;
    }
    assert_eq!(held + dropped[0].count.dropped, sent + 30);
    assert!(dropped[0].count.error.as_ref().unwrap().contains("more spans waited"));
}

#[test]
fn one_run_sends_to_a_destination_at_a_time_and_one_that_failed_rests() {
    let (mut outbox, a) = (Outbox::default(), exporter("a"));
    outbox.push(&a, span(10), NOW);
    for (exporter, parcel) in outbox.pack(MOST_BYTES, NOW) {
        outbox.hold(exporter, parcel);
    }
    assert_eq!(outbox.due(NOW).len(), 1);
    assert!(outbox.due(NOW + 1).is_empty(), "another run is under way");
    assert_eq!(outbox.due(NOW + LOST_MS).len(), 1, "the platform has ended it");
    outbox.rest(&a, Some(60_000), NOW);
    assert!(outbox.is_resting(&a, NOW + 59_999) && outbox.due(NOW + 59_999).is_empty());
    assert_eq!(outbox.due(NOW + 60_000).len(), 1);
    outbox.rest(&a, None, NOW);
    assert!(!outbox.is_resting(&a, NOW));
    outbox.rest_anew(&a, NOW);
    outbox.rest_anew(&a, NOW + REST_MS - 1);
    assert!(!outbox.is_resting(&a, NOW + REST_MS), "what is not sent does not make it rest for longer");
    assert!(outbox.due(NOW + MAX_AGE_MS + 1).is_empty());
    assert_eq!(outbox.counted()[0].count.dropped, 1);
}

#[test]
fn what_a_process_leaves_behind_is_counted() {
    let (mut outbox, a) = (Outbox::default(), exporter("a"));
    outbox.push(&a, span(10), NOW);
    for (exporter, parcel) in outbox.pack(MOST_BYTES, NOW) {
        outbox.hold(exporter, parcel);
    }
    outbox.push(&a, span(10), NOW);
    outbox.count(&a, Count { exported: 3, ..Count::default() });
    outbox.abandon(NOW);
    let counted = outbox.counted();
    assert_eq!((counted.len(), counted[0].count.exported, counted[0].count.dropped), (1, 3, 2));
    assert!(outbox.is_empty() && outbox.counted().is_empty());
}

#[test]
fn pauses_grow_and_are_spread() {
    assert_eq!([1, 2, 3].map(|failures| pause(failures, 0)), [500, 1_000, 2_000]);
    assert!(pause(1, 999) < 625 && pause(100, 0) == 32_000);
}
