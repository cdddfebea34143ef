//! Bodies in blocks. The runtime moves the bytes: wasm is woken for a block, not for each chunk.

use crate::platform::allotment::GrowingAllotment;
use crate::platform::js::{self, FixedLengthStream, IdentityTransformStream, Watch};
use js_sys::{Array, ArrayBuffer, Object, Promise, Reflect, Uint8Array};
use std::pin::Pin;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, Request, WritableStream};

/// How much is read at once, in bytes: little from a short body, and from a long one as much as is worth being woken for.
pub const FIRST_BLOCK: u32 = 16 * 1024;
pub const LAST_BLOCK: u32 = 1024 * 1024;

/// Of an upload that is too long to be kept, so much of the beginning is looked at, in bytes.
const BEGINNING: usize = 64 * 1024;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = ReadableStreamBYOBReader)]
    pub type Byob;
    /// Resolves with fewer bytes than asked for only at the end. <https://developers.cloudflare.com/workers/runtime-apis/streams/readablestreambyobreader/>
    #[wasm_bindgen(method, catch, js_name = readAtLeast)]
    pub fn read_at_least(this: &Byob, bytes: u32, view: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Byob) -> Promise;
    #[wasm_bindgen(method, js_name = releaseLock)]
    fn release_lock(this: &Byob);

    type WithByob;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &WithByob, options: &JsValue) -> Result<Byob, JsValue>;
}

/// A client's body that was taken in.
pub enum Upload {
    Whole(ArrayBuffer, GrowingAllotment),
    /// It is longer than the bound, or there is no room for it. The stream has all of it, and the bytes are its beginning.
    Longer(ReadableStream, Vec<u8>, Longer),
}

/// Why a body is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longer {
    ThanBound,
    ThanRoom,
}

/// Why a body is not there.
pub enum Untaken {
    TooLong,
    /// Others take so much of the isolate's memory that there is none for it.
    NoRoom,
    Broken(JsValue),
}

/// Takes in a client's body of up to `bound` bytes, as far as there is room. Of a longer one, or where there is none, `later` is
/// given what sends it on; its `length` goes with it, where it is known.
pub async fn upload(
    stream: ReadableStream,
    bound: u64,
    length: Option<u64>,
    later: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>),
) -> Result<Upload, JsValue> {
    let reader = reader_of(&stream)?;
    let mut allotment = GrowingAllotment::default();
    let (mut pieces, mut taken, mut size) = (Vec::new(), 0, FIRST_BLOCK);
    while let Some(piece) = block(&reader, size, size).await? {
        let more = u64::from(piece.byte_length());
        taken += more;
        pieces.push(piece);
        let fits = allotment.add(more);
        if taken > bound || !fits {
            reader.release_lock();
            let why = if taken > bound { Longer::ThanBound } else { Longer::ThanRoom };
            let begun = joined(&pieces, BEGINNING, false);
            let (readable, writable) = pipe(length);
            later(Box::pin(sent_on(pieces, allotment, stream, writable)));
            return Ok(Upload::Longer(readable, begun, why));
        }
        size = (size * 2).min(LAST_BLOCK);
    }
    buffer(&pieces).await.map(|buffer| Upload::Whole(buffer, allotment))
}

/// Takes in a short body: of up to `bound` bytes as a whole. A longer one comes back as a stream that has all of it.
pub async fn short(stream: &ReadableStream, bound: u64) -> Result<Result<ArrayBuffer, ReadableStream>, JsValue> {
    let branches = stream.tee();
    let (ours, rest): (ReadableStream, ReadableStream) =
        (branches.get(0).unchecked_into(), branches.get(1).unchecked_into());
    let reader = reader_of(&ours)?;
    let (mut pieces, mut length, mut size) = (Vec::new(), 0, FIRST_BLOCK);
    while let Some(piece) = block(&reader, size, size).await? {
        length += u64::from(piece.byte_length());
        if length > bound {
            // The runtime has kept for the other branch what was read of this one.
            let _ = JsFuture::from(reader.cancel()).await;
            return Ok(Err(rest));
        }
        pieces.push(piece);
        size = (size * 2).min(LAST_BLOCK);
    }
    let _ = JsFuture::from(rest.cancel()).await;
    buffer(&pieces).await.map(Ok)
}

/// A native pipe for a body of that length, if it is known.
pub fn pipe(length: Option<u64>) -> (ReadableStream, WritableStream) {
    match length {
        Some(length) => {
            let pipe = FixedLengthStream::new(length as f64);
            (pipe.fixed_readable(), pipe.fixed_writable())
        }
        None => {
            let pipe = IdentityTransformStream::new();
            (pipe.readable(), pipe.writable())
        }
    }
}

async fn sent_on(pieces: Vec<Uint8Array>, allotment: GrowingAllotment, rest: ReadableStream, writable: WritableStream) {
    let Ok(writer) = writable.get_writer() else { return };
    for piece in pieces {
        if JsFuture::from(writer.write_with_chunk(&piece)).await.is_err() {
            // The provider does not want it; the request to it fails and tells why.
            let _ = JsFuture::from(rest.cancel()).await;
            return;
        }
    }
    drop(allotment);
    writer.release_lock();
    let _ = JsFuture::from(rest.pipe_to(&writable)).await;
}

/// Takes in a client's body that is in memory so many `times` while it is read, or refuses one of more than `bound` bytes, or for
/// which there is no room. It is read to its end all the same: an answer before that would cost the client its connection.
pub async fn bounded(request: &Request, bound: u64, times: u64) -> Result<(ArrayBuffer, GrowingAllotment), Untaken> {
    let mut allotment = GrowingAllotment::default();
    let Some(stream) = request.body() else { return Ok((ArrayBuffer::new(0), allotment)) };
    let length = request.headers().get("content-length").ok().flatten().and_then(|length| length.parse().ok());
    let mut fits = true;
    if let Some(length) = length.filter(|length: &u64| *length <= bound) {
        fits = allotment.add(length * times);
        if fits {
            let whole = request.array_buffer().map_err(Untaken::Broken)?;
            let whole = JsFuture::from(whole).await.map_err(Untaken::Broken)?;
            return Ok((whole.unchecked_into(), allotment));
        }
    }
    let reader = reader_of(&stream).map_err(Untaken::Broken)?;
    let (mut pieces, mut length, mut size) = (Vec::new(), 0, FIRST_BLOCK);
    while let Some(piece) = block(&reader, size, size).await.map_err(Untaken::Broken)? {
        let more = u64::from(piece.byte_length());
        length += more;
        fits = fits && length <= bound && allotment.add(more * times);
        if fits {
            pieces.push(piece);
        } else {
            pieces.clear();
            allotment = GrowingAllotment::default();
        }
        size = (size * 2).min(LAST_BLOCK);
    }
    if length > bound {
        Err(Untaken::TooLong)
    } else if !fits {
        Err(Untaken::NoRoom)
    } else {
        buffer(&pieces).await.map(|buffer| (buffer, allotment)).map_err(Untaken::Broken)
    }
}

/// Reads a client's body to its end for nothing: an answer before that would cost the client its connection.
pub async fn drained(stream: &ReadableStream) {
    let Ok(reader) = reader_of(stream) else { return };
    while let Ok(Some(_)) = block(&reader, LAST_BLOCK, LAST_BLOCK).await {}
}

/// Takes in a stream as far as `bound` and there is room; what is beyond is let go. The second value tells whether that is all.
pub async fn beginning(
    stream: &ReadableStream,
    bound: u64,
    watch: &Watch,
) -> Result<(ArrayBuffer, bool, GrowingAllotment), JsValue> {
    let mut allotment = GrowingAllotment::default();
    let reader = reader_of(stream)?;
    let (mut pieces, mut length, mut size) = (Vec::new(), 0, FIRST_BLOCK);
    // A reader that waits for a whole block does not see half a one, which would pass for nothing.
    while let Some(piece) = block(&reader, if watch.is_on() { 1 } else { size }, size).await? {
        watch.came();
        let more = u64::from(piece.byte_length());
        length += more;
        if length > bound || !allotment.add(more) {
            let _ = JsFuture::from(reader.cancel()).await;
            return buffer(&pieces).await.map(|buffer| (buffer, false, allotment));
        }
        pieces.push(piece);
        size = (size * 2).min(LAST_BLOCK);
    }
    watch.end();
    buffer(&pieces).await.map(|buffer| (buffer, true, allotment))
}

pub fn reader_of(stream: &ReadableStream) -> Result<Byob, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &JsValue::from_str("mode"), &JsValue::from_str("byob"))?;
    stream.unchecked_ref::<WithByob>().get_reader(&options)
}

/// Reads between `least` and `most` bytes, or fewer at the end; `None` behind it.
pub async fn block(reader: &Byob, least: u32, most: u32) -> Result<Option<Uint8Array>, JsValue> {
    let promise = reader.read_at_least(least, &Uint8Array::new_with_length(most))?;
    let Some(piece) = js::read(promise).await? else { return Ok(None) };
    let length = piece.byte_length();
    // A view keeps the whole block it is of.
    Ok(Some(if length < most / 2 { piece.slice(0, length) } else { piece }))
}

pub async fn buffer(pieces: &[Uint8Array]) -> Result<ArrayBuffer, JsValue> {
    #[wasm_bindgen]
    extern "C" {
        type Blob;
        #[wasm_bindgen(constructor)]
        fn new(parts: &Array) -> Blob;
        #[wasm_bindgen(method, js_name = arrayBuffer)]
        fn array_buffer(this: &Blob) -> Promise;
    }
    if let [only] = pieces
        && only.buffer().byte_length() == only.byte_length()
    {
        return Ok(only.buffer());
    }
    let parts: Array = pieces.iter().collect();
    JsFuture::from(Blob::new(&parts).array_buffer()).await.map(JsCast::unchecked_into)
}

/// Up to so many bytes of the beginning of some pieces, or of their end.
pub fn joined(pieces: &[Uint8Array], most: usize, from_end: bool) -> Vec<u8> {
    let length: usize = pieces.iter().map(|piece| piece.byte_length() as usize).sum();
    let wanted = length.min(most);
    let mut skipped = if from_end { length - wanted } else { 0 };
    let mut all = vec![0; wanted];
    let mut rest_of_all = all.as_mut_slice();
    for piece in pieces {
        let size = piece.byte_length() as usize;
        let begin = skipped.min(size);
        skipped -= begin;
        let end = (begin + rest_of_all.len()).min(size);
        let Some((place, rest)) = std::mem::take(&mut rest_of_all).split_at_mut_checked(end - begin) else { break };
        piece.subarray(begin as u32, end as u32).copy_to(place);
        rest_of_all = rest;
    }
    all
}

/// Gathers the chunks of a stream without looking at them.
pub struct Collector(ReadableStreamDefaultReader);

impl Collector {
    pub fn new(stream: &ReadableStream) -> Self {
        Self(stream.get_reader().unchecked_into())
    }

    /// The whole stream, with the room it takes; `None` if it broke, or if it is longer than `limit` bytes or than there is room,
    /// beyond which it is not read.
    pub async fn collected(&self, limit: u64) -> Option<(ArrayBuffer, GrowingAllotment)> {
        let mut chunks = Vec::new();
        let mut length = 0;
        let mut allotment = GrowingAllotment::default();
        while let Some(chunk) = js::chunk(&self.0).await.ok()? {
            let more = u64::from(chunk.byte_length());
            length += more;
            if length > limit || !allotment.add(more) {
                self.cancel().await;
                return None;
            }
            chunks.push(chunk);
        }
        buffer(&chunks).await.ok().map(|buffer| (buffer, allotment))
    }

    pub async fn cancel(&self) {
        let _ = JsFuture::from(self.0.cancel()).await;
    }
}
