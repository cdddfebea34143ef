//! Moves a provider's stream to the client in the caller's format. A slow client holds it up, and has what came meanwhile translated
//! at once.

use crate::platform::blocks::{self, reader_of};
use crate::platform::promise::promise;
use crate::platform::{js, pause};
use crate::proxy::unified::array::Elements;
use crate::proxy::unified::blocks::Blocks;
use js_sys::Uint8Array;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, WritableStream};

/// After so long without an event the client gets a sign of life, in milliseconds.
const PING_MS: u64 = 10_000;

/// How much is translated at once, in bytes.
const BLOCK: u32 = 64 * 1024;

/// Puts a pipe that translates between a stream and the client. The second value resolves when the client has everything, and fails
/// when the client left or the stream broke.
pub fn piped(stream: ReadableStream, blocks: Blocks, elements: Option<Elements>) -> (JsValue, Option<JsFuture>) {
    let (readable, writable) = blocks::pipe(None);
    let moved =
        promise(Box::pin(async move { moved(stream, writable, blocks, elements).await.map(|()| JsValue::UNDEFINED) }));
    (readable.into(), Some(moved.into()))
}

/// What the pump has waited for.
enum Came {
    Read(Result<JsValue, JsValue>),
    Written(Result<JsValue, JsValue>),
    Silence,
}

/// One write is under way at most. What comes meanwhile is translated and gathered, so that a client that is behind gets blocks and not
/// events; and when a block of it waits, the provider waits, too.
async fn moved(
    stream: ReadableStream,
    writable: WritableStream,
    mut blocks: Blocks,
    mut elements: Option<Elements>,
) -> Result<(), JsValue> {
    let (reader, writer) = (reader_of(&stream)?, writable.get_writer()?);
    // The same memory for each read: a stream has thousands of events.
    let read = |view: &Uint8Array| reader.read_at_least(1, view).map(JsFuture::from);
    let mut reading = Some(read(&Uint8Array::new_with_length(BLOCK))?);
    let (mut writing, mut text): (Option<JsFuture>, _) = (None, String::new());
    let (mut silence, mut is_silent) = (Box::pin(pause(PING_MS)), true);
    // The stream has ended; the second value is how it broke.
    let (mut is_last, mut broken, mut unread) = (false, None, None);
    loop {
        if let (None, false) = (&writing, text.is_empty()) {
            writing = Some(JsFuture::from(writer.write_with_chunk(&Uint8Array::from(text.as_bytes()))));
            text.clear();
        }
        if text.len() < BLOCK as usize
            && let Some(view) = unread.take()
        {
            reading = Some(read(&view)?);
        }
        if is_last && writing.is_none() {
            let closed = JsFuture::from(writer.close()).await;
            return broken.map_or(closed.map(drop), Err);
        }
        let came = poll_fn(|context| {
            // Much of what a fast provider sends is there when it is asked for.
            if let Some(Poll::Ready(read)) = reading.as_mut().map(|reading| Pin::new(reading).poll(context)) {
                return Poll::Ready(Came::Read(read));
            }
            if let Some(Poll::Ready(written)) = writing.as_mut().map(|writing| Pin::new(writing).poll(context)) {
                return Poll::Ready(Came::Written(written));
            }
            silence.as_mut().poll(context).map(|()| Came::Silence)
        });
        let before = text.len();
        match came.await {
            Came::Read(read) => {
                (reading, is_silent) = (None, false);
                match read.map(js::piece) {
                    Ok(Some(piece)) => {
                        blocks.push(&piece.to_vec(), &mut text);
                        unread = Some(Uint8Array::new(&piece.buffer()));
                    }
                    Ok(None) => is_last = true,
                    Err(error) => (is_last, broken) = (true, Some(error)),
                }
                if is_last {
                    // The client learns in its own format that the stream broke.
                    blocks.end(&mut text);
                }
            }
            Came::Written(written) => {
                writing = None;
                if let Err(error) = written {
                    // The client has left; the provider is told to stop.
                    let _ = JsFuture::from(reader.cancel()).await;
                    return Err(error);
                }
                continue;
            }
            Came::Silence => {
                silence = Box::pin(pause(PING_MS));
                if is_last {
                    continue;
                }
                if std::mem::replace(&mut is_silent, true) && writing.is_none() {
                    blocks.ping(&mut text);
                }
            }
        }
        if let Some(elements) = &mut elements {
            let events = text.split_off(before);
            text.push_str(&elements.next(&events, is_last));
        }
    }
}
