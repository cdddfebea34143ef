//! The stand-in for a provider: answers as fast as it can, or as slowly as it is asked to. A thread per connection, nothing
//! but the standard library. Prints its address, and ends with its input: the process that started it may be killed.
//!
//! What it answers stands in the request's body as `"bench-…"`, because a gateway may drop a header or rename a model:
//! `json500` (so many bytes), `sse22` (so many events at once), `paced64x20` (so many events, one in so many ms, each with
//! the time at which it was sent), `steady64x50` (the same without times, so that every answer has the same bytes) and
//! `audio20000000` (so many bytes that are no text).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the mark is looked for: it stands before what is long.
const HEAD: u64 = 4096;
const HEADERS: &str = "HTTP/1.1 200 OK\r\nx-request-id: req_5f2d0c6b8a\r\nopenai-processing-ms: 412\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n";
const CHUNK: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1795240000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_bench","#;
const TEXT: &str = r#"Noodles in broth are \"comfort\" food:\nhot, salty, and – if you are lucky – with an egg. "#;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        thread::Builder::new().stack_size(128 * 1024).spawn(move || serve(&stream))?;
    }
    Ok(())
}

fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Some(work) = read_request(&mut reader)? {
        match timed(&work) {
            Some(timed) => timed.send(stream)?,
            None => stream.write_all(&ready(&work))?,
        }
    }
    Ok(())
}

/// An answer that is the same each time is made once.
fn ready(work: &str) -> Arc<Vec<u8>> {
    static MADE: OnceLock<Mutex<HashMap<String, Arc<Vec<u8>>>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
    made.entry(work.to_owned()).or_insert_with(|| Arc::new(make(work))).clone()
}

fn make(work: &str) -> Vec<u8> {
    if let Some(events) = number(work, "sse") {
        let mut answer = head_of_events();
        (0..events).for_each(|n| answer.push_str(&in_chunk(&event(n, None))));
        answer.push_str(&tail_of_events());
        return answer.into_bytes();
    }
    if let Some(bytes) = number(work, "audio") {
        return whole("audio/mpeg", &(0..bytes).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<_>>());
    }
    let (before, after) = (
        r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1795240000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":""#,
        r#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":17,"completion_tokens":6,"total_tokens":23},"system_fingerprint":"fp_bench"}"#,
    );
    let mut body = before.to_owned();
    let wanted = number(work, "json").unwrap_or(500);
    while body.len() + TEXT.len() + after.len() <= wanted {
        body.push_str(TEXT);
    }
    body.extend((body.len() + after.len()..wanted).map(|_| '.'));
    whole("application/json", (body + after).as_bytes())
}

fn whole(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{HEADERS}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn head_of_events() -> String {
    format!("{HEADERS}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// Event by event is how a provider sends them: a chunk of the body for each.
fn event(n: usize, sent_at: Option<u128>) -> String {
    let text = sent_at.map_or_else(|| format!(" word{n}"), |time| format!("@{time} "));
    format!("data: {CHUNK}\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n")
}

fn in_chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn tail_of_events() -> String {
    let mut tail = in_chunk(&format!(
        "data: {CHUNK}\"choices\":[{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"stop\"}}]}}\n\n"
    ));
    tail += &in_chunk(&format!("data: {CHUNK}\"choices\":[],\"usage\":{{\"prompt_tokens\":17,\"completion_tokens\":64,\"total_tokens\":81}}}}\n\n"));
    let _ = write!(tail, "{}0\r\n\r\n", in_chunk("data: [DONE]\n\n"));
    tail
}

struct Timed {
    events: usize,
    every: Duration,
    dated: bool,
}

fn timed(work: &str) -> Option<Timed> {
    let (rest, dated) =
        work.strip_prefix("paced").map(|rest| (rest, true)).or_else(|| Some((work.strip_prefix("steady")?, false)))?;
    let (events, every) = rest.split_once('x')?;
    Some(Timed { events: events.parse().ok()?, every: Duration::from_millis(every.parse().ok()?), dated })
}

impl Timed {
    /// The first event at once, each other one at its own time: a late one does not put off the next.
    fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        let start = Instant::now();
        stream.write_all(head_of_events().as_bytes())?;
        for n in 0..self.events {
            thread::sleep((self.every * n as u32).saturating_sub(start.elapsed()));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_micros();
            stream.write_all(in_chunk(&event(n, self.dated.then_some(now))).as_bytes())?;
        }
        stream.write_all(tail_of_events().as_bytes())
    }
}

fn number(work: &str, kind: &str) -> Option<usize> {
    work.strip_prefix(kind)?.parse().ok()
}

/// Reads one request to its end and finds the mark. None when the client has closed the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let (mut length, mut chunked) = (0, false);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut head = Vec::new();
    if !chunked {
        take(reader, length, &mut head)?;
        return Ok(Some(mark(&head)));
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        take(reader, size, &mut head)?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(Some(mark(&head)));
        }
    }
}

fn take(reader: &mut impl BufRead, bytes: u64, head: &mut Vec<u8>) -> io::Result<()> {
    let kept = bytes.min(HEAD.saturating_sub(head.len() as u64));
    reader.by_ref().take(kept).read_to_end(head)?;
    io::copy(&mut reader.take(bytes - kept), &mut io::sink()).map(drop)
}

fn mark(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let found = text.split_once("\"bench-").and_then(|(_, rest)| rest.split_once('"'));
    found.map_or_else(|| "json500".to_owned(), |(work, _)| work.to_owned())
}
