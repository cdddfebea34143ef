//! The stand-in for a provider in the benchmark: answers every request on a connection with the same chat completion, as
//! fast as it can. A thread per connection, nothing but the standard library. Prints its address, and ends with its input:
//! whoever started it may be killed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

const BODY: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1795240000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"A bowl of ramen."},"finish_reason":"stop"}],"usage":{"prompt_tokens":17,"completion_tokens":6,"total_tokens":23}}"#;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(&stream));
    }
    Ok(())
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    while skip_request(&mut reader)? {
        let mut writer = stream;
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Reads one request to its end. False when the client has closed the connection.
fn skip_request(reader: &mut impl BufRead) -> io::Result<bool> {
    let (mut length, mut chunked) = (0, false);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
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
    if !chunked {
        skip(reader, length)?;
        return Ok(true);
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        // The chunk and the line break behind it.
        skip(reader, size + 2)?;
        if size == 0 {
            return Ok(true);
        }
    }
}

fn skip(reader: &mut impl BufRead, bytes: u64) -> io::Result<()> {
    io::copy(&mut reader.take(bytes), &mut io::sink()).map(drop)
}
