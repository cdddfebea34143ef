//! Moves a provider's stream to the client in the caller's format. A slow client holds it up, and has what came meanwhile translated
//! at once.

use crate::platform::blocks::{self, block, reader_of};
use crate::platform::promise::promise;
use crate::proxy::unified::blocks::Blocks;
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, WritableStream};

/// How much is translated at once, in bytes.
const BLOCK: u32 = 64 * 1024;

/// Puts a pipe that translates between a stream and the client. The second value resolves when the client has everything, and fails
/// when the client left or the stream broke.
pub fn piped(stream: ReadableStream, blocks: Blocks) -> (JsValue, Option<JsFuture>) {
    let (readable, writable) = blocks::pipe(None);
    let moved = promise(Box::pin(async move { moved(stream, writable, blocks).await.map(|()| JsValue::UNDEFINED) }));
    (readable.into(), Some(moved.into()))
}

async fn moved(stream: ReadableStream, writable: WritableStream, mut blocks: Blocks) -> Result<(), JsValue> {
    let (reader, writer) = (reader_of(&stream)?, writable.get_writer()?);
    let mut text = String::new();
    loop {
        let (is_last, broken) = match block(&reader, 1, BLOCK).await {
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
        if !text.is_empty()
            && let Err(error) = JsFuture::from(writer.write_with_chunk(&Uint8Array::from(text.as_bytes()))).await
        {
            // The client has left; the provider is told to stop.
            let _ = JsFuture::from(reader.cancel()).await;
            return Err(error);
        }
        text.clear();
        if is_last {
            let closed = JsFuture::from(writer.close()).await;
            return broken.map_or(closed.map(drop), Err);
        }
    }
}
