//! Moves a provider's stream to the client in the caller's format. A slow client holds it up, and has what came meanwhile translated
//! at once.

use crate::platform::blocks::{self, block, reader_of};
use crate::platform::pause;
use crate::platform::promise::promise;
use crate::proxy::unified::array::Elements;
use crate::proxy::unified::blocks::Blocks;
use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use std::pin::pin;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, WritableStream, WritableStreamDefaultWriter};

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

async fn moved(
    stream: ReadableStream,
    writable: WritableStream,
    mut blocks: Blocks,
    mut elements: Option<Elements>,
) -> Result<(), JsValue> {
    let (reader, writer) = (reader_of(&stream)?, writable.get_writer()?);
    let mut text = String::new();
    let (mut silence, mut is_silent) = (pin!(pause(PING_MS)), true);
    loop {
        let mut next = pin!(block(&reader, 1, BLOCK));
        let next = loop {
            match select(next.as_mut(), silence.as_mut()).await {
                Either::Left((next, _)) => break next,
                Either::Right(_) => {
                    silence.set(pause(PING_MS));
                    if std::mem::replace(&mut is_silent, true) {
                        blocks.ping(&mut text);
                        if let Some(elements) = &mut elements {
                            text = elements.next(&text, false);
                        }
                        if let Err(error) = write(&writer, &mut text).await {
                            let _ = JsFuture::from(reader.cancel()).await;
                            return Err(error);
                        }
                    }
                }
            }
        };
        is_silent = false;
        let (is_last, broken) = match next {
            Ok(Some(piece)) => {
                blocks.push(&piece.to_vec(), &mut text);
                (false, None)
            }
            Ok(None) => (true, None),
            Err(error) => (true, Some(error)),
        };
        if is_last {
            // The client learns in its own format that the stream broke.
            blocks.end(&mut text);
        }
        if let Some(elements) = &mut elements {
            text = elements.next(&text, is_last);
        }
        if let Err(error) = write(&writer, &mut text).await {
            // The client has left; the provider is told to stop.
            let _ = JsFuture::from(reader.cancel()).await;
            return Err(error);
        }
        if is_last {
            let closed = JsFuture::from(writer.close()).await;
            return broken.map_or(closed.map(drop), Err);
        }
    }
}

async fn write(writer: &WritableStreamDefaultWriter, text: &mut String) -> Result<(), JsValue> {
    if !text.is_empty() {
        JsFuture::from(writer.write_with_chunk(&Uint8Array::from(text.as_bytes()))).await?;
        text.clear();
    }
    Ok(())
}
