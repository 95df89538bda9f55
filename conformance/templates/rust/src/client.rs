//! A neffos client: what an application calls, and what calls it.
//!
//! `Client::dial` completes the handshake. The caller then gives a thread to `Client::run`, which
//! reads until the connection has ended, and calls the application. All else can be called from
//! any thread, except that the thread in `Client::run` must not wait for a reply.

use std::fmt::{self, Display};
use std::mem::take;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use tungstenite::protocol::frame::coding::CloseCode;

use crate::frame::{Body, Frame};
use crate::session::{
    CONNECT, DISCONNECT, JOIN, LEAVE, Membership, NATIVE, Received, Session, membership,
};
use crate::socket::{Reader, open, probe};

/// The first and the longest delay before a try to reconnect.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];

#[derive(Debug)]
pub enum Error {
    /// The server refused; its text may be empty (FR-8).
    Refused(String),
    /// No reply came in time (AR-15).
    Deadline,
    /// The connection or the namespace has ended (AR-14, NS-18).
    Lost,
    /// The connection could not be opened.
    Dial(String),
    /// The call is not possible now, or never; nothing was sent.
    Misuse(&'static str),
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Error::Refused(text) if text.is_empty() => "refused without a text",
            Error::Refused(text) | Error::Dial(text) => text,
            Error::Deadline => "no reply in time",
            Error::Lost => "write closed",
            Error::Misuse(text) => text,
        })
    }
}

/// Errors while a connection is opened.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Dial(error.to_string())
    }
}

pub enum Report {
    Connected(Membership),
    Disconnected(Membership),
    Reconnected(String),
    Closed,
}

/// The thread in `Client::run` calls these, one after the other (EV-1).
pub trait Application: Send + Sync {
    /// The text of a refusal to connect a namespace or join a room (NS-4, RM-3).
    fn refuses(&self, _membership: &Membership) -> Option<String> {
        None
    }
    fn report(&self, report: Report);
    fn event(&self, event: Event);
}

pub struct Options {
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// Those that the application has handlers for; the server can connect no others (NS-3).
    pub namespaces: Vec<String>,
    /// Whether a payload that is not a frame is an event `NATIVE` in the empty namespace (NM-2).
    pub native: bool,
    pub reconnect: bool,
    /// How long opening the connection may take, handshake included.
    pub timeout: Duration,
    /// How long an ask may take, unless `Client::within` says otherwise (AR-15).
    pub deadline: Duration,
}

struct Shared {
    options: Options,
    application: Box<dyn Application>,
    session: Mutex<Session>,
    gone: Condvar,
}

#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Duration,
}

impl Client {
    /// Opens a connection. Its ID is in the reader, which goes into `run`.
    pub fn dial(
        options: Options,
        application: Box<dyn Application>,
    ) -> Result<(Client, Reader), Error> {
        let (reader, writer) = open(&options.url, &options.headers, 0, options.timeout)?;
        let session = Session::new(&options.namespaces, options.native, Box::new(writer));
        let session = Mutex::new(session);
        let (deadline, gone) = (options.deadline, Condvar::new());
        let shared = Arc::new(Shared { options, application, session, gone });
        Ok((Client { shared, deadline }, reader))
    }

    /// The same client, with another deadline for asks.
    pub fn within(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    pub fn connect(&self, namespace: &str) -> Result<(), Error> {
        self.wait(Frame::event(namespace, "", CONNECT, Body::default())).map(drop)
    }

    pub fn disconnect(&self, namespace: &str) -> Result<(), Error> {
        self.wait(Frame::event(namespace, "", DISCONNECT, Body::default())).map(drop)
    }

    pub fn join(&self, namespace: &str, room: &str) -> Result<(), Error> {
        self.wait(Frame::event(namespace, room, JOIN, Body::default())).map(drop)
    }

    pub fn leave(&self, namespace: &str, room: &str) -> Result<(), Error> {
        self.wait(Frame::event(namespace, room, LEAVE, Body::default())).map(drop)
    }

    /// One ask for each room (RM-8).
    pub fn leave_all(&self, namespace: &str) -> Result<(), Error> {
        let rooms = self.session().rooms(namespace);
        rooms.iter().try_for_each(|(_, room)| self.leave(namespace, room))
    }

    pub fn emit(&self, namespace: &str, room: &str, event: &str, body: Body) -> Result<(), Error> {
        self.session().emit(&Frame::event(namespace, room, event, body))
    }

    /// Sends an event and waits for the reply.
    pub fn ask(&self, namespace: &str, room: &str, event: &str, body: Body) -> Result<Body, Error> {
        let frame = Frame::event(namespace, room, event, body);
        if [CONNECT, DISCONNECT, JOIN, LEAVE].contains(&event) {
            return Err(Error::Misuse("the name is the protocol's own"));
        }
        self.wait(frame)
    }

    /// Sends a native message, to a server that accepts them (NM-1).
    pub fn native(&self, body: Body) -> Result<(), Error> {
        if body.bytes.is_empty() || Frame::read(&body).is_some() {
            return Err(Error::Misuse("it would be read as a frame")); // FR-14, NM-3
        }
        let mut session = self.session();
        session.check(&Frame::event("", "", NATIVE, Body::default()))?;
        session.send(body.message())
    }

    /// Sends a close frame, and ends the connection (TR-12, TR-13).
    pub fn close(&self) {
        let mut session = self.session();
        session.closing = true;
        let Some(writer) = &mut session.writer else { return };
        writer.close(CloseCode::Normal);
        let open = |session: &mut Session| session.writer.is_some();
        let waited = self.shared.gone.wait_timeout_while(session, self.deadline, open);
        waited.unwrap().0.writer.as_ref().inspect(|writer| writer.cut());
    }

    fn wait(&self, frame: Frame) -> Result<Body, Error> {
        let token = format!("${:032x}", rand::random::<u128>()); // AR-2, AR-5, AR-6
        let answer = self.session().ask(Frame { wait: token.clone(), ..frame })?;
        answer.recv_timeout(self.deadline).unwrap_or_else(|error| match error {
            RecvTimeoutError::Disconnected => Err(Error::Lost),
            RecvTimeoutError::Timeout => {
                self.session().expire(&token);
                Err(Error::Deadline)
            }
        })
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.shared.session.lock().unwrap()
    }

    /// Reads until the connection has ended and is not opened again.
    pub fn run(&self, mut reader: Reader) {
        let application = &self.shared.application;
        loop {
            let code = loop {
                match reader.read() {
                    Ok(message) => self.take(message),
                    Err(code) => break code,
                }
            };
            let mut session = self.session();
            if let (Some(writer), Some(code)) = (&mut session.writer, code) {
                writer.close(code);
            }
            session.gone();
            drop(session);
            self.shared.gone.notify_all();
            self.tell();
            let Some(next) = self.again() else { break };
            reader = next;
            application.report(Report::Reconnected(reader.id.clone()));
            let client = self.clone();
            thread::spawn(move || client.restore());
        }
        application.report(Report::Closed);
    }

    /// Acts on a message: whatever it is, the reading goes on (SEC-16).
    fn take(&self, message: Body) {
        let application = &self.shared.application;
        let arrived = self.session().arrived(message);
        match arrived {
            Received::Nothing => (),
            Received::Request(frame) => {
                let refusal = application.refuses(&membership(&frame));
                self.session().decide(frame, refusal);
            }
            Received::Event(frame, native, life) => {
                application.event(Event { client: self.clone(), frame, native, life });
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let reports = take(&mut self.session().reports);
        reports.into_iter().for_each(|report| self.shared.application.report(report));
    }

    /// Replaces a lost connection, unless the caller or the server closed it.
    fn again(&self) -> Option<Reader> {
        let Options { url, headers, timeout, reconnect, .. } = &self.shared.options;
        let (mut wait, mut tries) = (WAITS[0], 0);
        while *reconnect && !self.session().closing {
            thread::sleep(wait);
            wait = WAITS[1].min(wait * 2);
            if probe(url, *timeout).is_err() {
                continue; // TR-5
            }
            tries += 1; // TR-9
            match open(url, headers, tries, *timeout) {
                Ok((reader, writer)) => {
                    self.session().writer = Some(Box::new(writer));
                    return Some(reader);
                }
                Err(Error::Refused(_)) => return None,
                Err(_) => (),
            }
        }
        None
    }

    /// Restores lost memberships: a namespace before its rooms (TR-11).
    fn restore(&self) {
        while let Some((namespace, room)) = { self.session().lost.first().cloned() } {
            let event = if room.is_empty() { CONNECT } else { JOIN };
            let frame = Frame::event(&namespace, &room, event, Body::default());
            if let Err(Error::Lost) = self.wait(frame) {
                return; // it is tried again with the next connection
            }
            self.session().lost.remove(&(namespace, room));
        }
    }
}

/// An event for the application, and the only way to reply to it, once (AR-22).
pub struct Event {
    pub client: Client,
    pub frame: Frame,
    /// It is a native message.
    native: bool,
    life: Weak<()>,
}

impl Event {
    /// Sends a body or an error text. To send nothing, drop the event (AR-9). To wait first, move
    /// it to another thread.
    pub fn reply(self, answer: Result<Vec<u8>, String>) -> Result<(), Error> {
        let mut session = self.client.session();
        self.life.upgrade().ok_or(Error::Lost)?; // NS-18
        if self.native {
            let bytes = answer.map_err(|_| Error::Misuse("a native message is no error"))?;
            return session.send(Body { bytes, ..self.frame.body }.message()); // NM-7
        }
        if self.frame.wait.is_empty() {
            session.check(&self.frame)?; // AR-10, RM-10
        }
        session.answer(self.frame, answer)
    }
}
