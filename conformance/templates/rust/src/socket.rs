//! Opens a connection: TCP, WebSocket, handshake. Later messages are not known here.
//!
//! Between its request and the answer the client sends nothing (HS-11). Headers of the application
//! go as they are (TR-19), and no version is announced or asked for (TR-18).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue, Uri};
use tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tungstenite::{Message, WebSocket};

use crate::client::Error;
use crate::frame::Body;
use crate::session::Writer;

/// Messages that are kept before the acceptance (HS-14): a server needs no more.
const HELD: usize = 64;

/// One thread reads while others write: each half has a `WebSocket` of its own on the same TCP
/// connection. The reading one answers pings and close frames, so both share a lock.
struct Half {
    tcp: TcpStream,
    turn: Arc<Mutex<()>>,
}

impl Read for Half {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(buffer)
    }
}

impl Write for Half {
    /// tungstenite hands over whole WebSocket frames, which must not be mixed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _turn = self.turn.lock().unwrap();
        self.tcp.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

pub struct Reader {
    socket: WebSocket<Half>,
    held: VecDeque<Body>,
    /// All bytes after the `A` (HS-19).
    pub id: String,
}

impl Reader {
    /// The next message, or the end of the connection, and the close code to send.
    pub fn read(&mut self) -> Result<Body, Option<CloseCode>> {
        if let Some(message) = self.held.pop_front() {
            return Ok(message); // HS-14
        }
        self.next().map_err(|error| match error {
            tungstenite::Error::Utf8(_) => Some(CloseCode::Invalid), // TR-17
            tungstenite::Error::Capacity(_) => Some(CloseCode::Size), // TR-13
            tungstenite::Error::Protocol(_) => Some(CloseCode::Protocol),
            _ => None, // TR-14; a close frame has been answered (TR-16)
        })
    }

    /// Empty messages are ignored (FR-14).
    fn next(&mut self) -> tungstenite::Result<Body> {
        loop {
            let message = self.socket.read()?;
            let binary = message.is_binary();
            if (binary || message.is_text()) && !message.is_empty() {
                return Ok(Body { bytes: message.into_data().into(), binary });
            }
        }
    }
}

pub struct SocketWriter(WebSocket<Half>);

impl Writer for SocketWriter {
    fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message).map_err(|_| {
            self.cut();
            Error::Lost
        })
    }

    /// TR-12
    fn close(&mut self, code: CloseCode) {
        let _ = self.0.close(Some(CloseFrame { code, reason: "".into() }));
        let _ = self.0.flush();
    }

    fn cut(&self) {
        let _ = self.0.get_ref().tcp.shutdown(Shutdown::Both);
    }
}

fn connect(url: &Uri, timeout: Duration) -> io::Result<TcpStream> {
    let place = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
    let mut refused = io::Error::other("the host has no address");
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Whether there is a server: any HTTP response proves it (TR-5).
pub fn probe(url: &str, timeout: Duration) -> io::Result<()> {
    let url: Uri = url.parse().map_err(io::Error::other)?;
    let host = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut tcp = connect(&url, timeout)?;
    tcp.set_read_timeout(Some(timeout))?;
    write!(tcp, "HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    tcp.read_exact(&mut [0; "HTTP/1.1 200".len()])
}

/// Opens a connection and completes the handshake, in `timeout` altogether. `tries` counts those
/// of a reconnection; 0: this is the first connection (TR-9).
pub fn open(
    url: &str,
    headers: &[(String, String)],
    tries: usize,
    timeout: Duration,
) -> Result<(Reader, SocketWriter), Error> {
    let mut request = url.into_client_request()?; // TR-1, TR-2
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    }
    if tries > 0 {
        request.headers_mut().insert("X-Websocket-Reconnect", tries.into());
    }
    let until = Instant::now() + timeout;
    let tcp = connect(request.uri(), timeout)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(timeout))?;
    tcp.set_write_timeout(Some(timeout))?; // a server that does not read is given up
    let turn = Arc::new(Mutex::new(()));
    let reading = Half { tcp: tcp.try_clone()?, turn: turn.clone() };
    let writing = Half { tcp: tcp.try_clone()?, turn };
    let (socket, _) = tungstenite::client(request, reading)?;
    let mut writer = SocketWriter(WebSocket::from_raw_socket(writing, Role::Client, None));
    let mut reader = Reader { socket, held: VecDeque::new(), id: String::new() };

    writer.send(Message::text("M"))?; // HS-1, HS-2, HS-5
    loop {
        let left = until.saturating_duration_since(Instant::now());
        tcp.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let message = reader.next()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &message.bytes[..] {
            [b'M', ..] => (), // HS-9
            [b'A', id @ ..] => {
                reader.id = text(id); // HS-3, HS-7
                tcp.set_read_timeout(None)?;
                return Ok((reader, writer));
            }
            [b'H', why @ ..] => {
                writer.close(CloseCode::Normal);
                return Err(Error::Refused(text(why))); // HS-16
            }
            _ if reader.held.len() < HELD => reader.held.push_back(message), // HS-10, HS-14
            _ => (),
        }
    }
}
