//! What answers say of things that are paid for by their number, and not by the token: seconds of audio, pages, images.

use super::details::{Count, Details};
use super::picture::{self, Picture, Quality};
use super::places::Node;
use crate::wire::facts::Facts;

impl Facts {
    /// Reads them where they stand outside of an object of counts. What such an object said comes first.
    pub(super) fn take_units(&mut self, answer: &Node<'_>, kind: &str, object: &str) {
        // OpenAI's other objects have a kind, and may echo what was sent.
        if !object.is_empty() {
            return;
        }
        self.count(answer.json("usage_info"));
        let details = &mut self.usage.details;
        let heard = seconds(answer);
        details.set(Count::Seconds, details.get(Count::Seconds).or(heard));
        details.picture = Picture {
            size: answer.json("size").and_then(picture::size),
            quality: answer.text("quality").and_then(Quality::parse),
        }
        .or(details.picture);
        let made = images(answer, kind);
        if made > 0 {
            let before = details.number(Count::Images);
            details.set(Count::Images, Some(before.saturating_add(made)));
        }
    }

    /// The same for what Cloudflare puts into an envelope.
    pub(super) fn take_heard(&mut self, result: &Node<'_>) {
        let heard = result.get("transcription_info").and_then(|info| Count::Seconds.read(info.json("duration")?));
        let details: &mut Details = &mut self.usage.details;
        details.set(Count::Seconds, crate::wire::counts::latest(details.get(Count::Seconds), heard));
    }
}

/// How long the audio was that an answer is the transcript of.
fn seconds(answer: &Node<'_>) -> Option<u64> {
    let read = |node: &Node<'_>, name: &str| Count::Seconds.read(node.json(name)?);
    let own = || read(answer, "duration").filter(|_| answer.has("text"));
    // Deepgram's; whatever else has a `metadata` has a user's words in it.
    let deepgram = || read(answer.get("metadata").filter(|_| answer.has("results"))?, "duration");
    read(answer, "audio_duration_secs").or_else(own).or_else(deepgram)
}

/// How many images an answer, or an event of one, brings.
fn images(answer: &Node<'_>, kind: &str) -> u64 {
    let are_images = |node: &&Node<'_>| node.has("b64_json") || node.has("url") || node.has("bytesBase64Encoded");
    let listed = |name: &str| answer.list(name).iter().filter(are_images).count() as u64;
    let is_last = ["image_generation.completed", "image_edit.completed"].contains(&kind);
    let alone = answer.get("image").filter(are_images).is_some() || (is_last && answer.has("b64_json"));
    // A list in `images` is of texts at Amazon, and of objects at fal.
    let counted = answer.length("images").unwrap_or(0);
    [listed("data"), listed("predictions"), counted, u64::from(alone)].into_iter().max().unwrap_or(0)
}
