//! A neffos client: namespaces, rooms and events, and asks from both ends of a connection.
//!
//! `Client::dial` completes the handshake. The caller then gives a thread to `Client::run`, which
//! reads until the connection has ended, and calls the application. All else can be called from
//! any thread; but what waits for a reply is not for the thread that reads, from inside the
//! application. The identifiers in the comments are those of the specification.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::frame::{Body, Frame};
use crate::socket::{Reader, Writer, open, probe};

/// The four requests (EV-3): to connect and disconnect, to join and leave.
const ENTER: [&str; 2] = ["_OnNamespaceConnect", "_OnRoomJoin"];
const EXIT: [&str; 2] = ["_OnNamespaceDisconnect", "_OnRoomLeave"];
/// Names for what an end has done itself, which are never on the wire (EV-4, EV-5).
const LOCAL: [&str; 4] = ["_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"];
pub const NATIVE: &str = "_OnNativeMessage";

/// Asks of either end that may be pending at a time (SEC-7): a thread waits for each.
const PENDING: usize = 1024;
/// Tokens of ended asks that are remembered, to know late replies by (AR-21).
const ENDED: usize = 1024;
/// The first and the longest wait before a lost connection is tried again.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];

#[derive(Debug)]
pub enum Error {
    /// The server said no; its text may be empty (FR-8).
    Refused(String),
    /// No reply came in time (AR-15).
    Deadline,
    /// The connection or the namespace has ended (AR-14, NS-18).
    Lost,
    /// No connection came about.
    Dial(String),
    /// What the caller wants cannot be now, or never; nothing was sent.
    Misuse(&'static str),
}

impl fmt::Display for Error {
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

/// A namespace and an empty room, or a room in it: no room's name is empty (RM-12).
pub type Place = (String, String);

/// What an application is told of; a place is a namespace or a room.
pub enum News {
    Entered(Place),
    Left(Place),
    Reconnected(String),
    Closed,
}

/// The thread in `Client::run` calls these, one after the other (EV-1).
pub trait Application: Send + Sync {
    /// The text with which to refuse that the server has this end enter a place (NS-4, RM-3).
    fn refuses(&self, _place: &Place) -> Option<String> {
        None
    }
    fn told(&self, news: News);
    fn event(&self, event: Event);
}

pub struct Options {
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// Those that the application has handlers for (NS-3).
    pub namespaces: Vec<String>,
    /// Whether what is no frame is an event `NATIVE` in the empty namespace (NM-2).
    pub native: bool,
    pub reconnect: bool,
    /// How long opening the connection may take, handshake included.
    pub patience: Duration,
    /// How long a caller waits who does not say otherwise (AR-15).
    pub deadline: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Entry,
    Exit,
    Reply,
}

impl Wants {
    fn of(event: &str) -> Wants {
        match event {
            event if ENTER.contains(&event) => Wants::Entry,
            event if EXIT.contains(&event) => Wants::Exit,
            _ => Wants::Reply,
        }
    }
}

struct Pending {
    place: Place,
    wants: Wants,
    caller: SyncSender<Result<Body, Error>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Entering,
    In,
    Exiting,
}

/// `life` ends with the membership, and with it what handlers still hold (NS-18).
struct Member {
    stage: Stage,
    life: Arc<()>,
}

#[derive(Default)]
struct State {
    writer: Option<Writer>,
    closing: bool,
    /// What is not here is out.
    members: BTreeMap<Place, Member>,
    /// What is to be entered anew (TR-11).
    lost: BTreeSet<Place>,
    pending: HashMap<String, Pending>,
    ended: VecDeque<String>,
    news: Vec<News>,
}

/// What goes over the wire, and what it changes. No method of these waits.
impl State {
    fn send(&mut self, message: Option<Message>) -> Result<(), Error> {
        let message = message.ok_or(Error::Misuse("no message can hold this"))?;
        self.writer.as_mut().ok_or(Error::Lost)?.send(message)
    }

    /// Sends the frame back with another body: the rest of it stays (AR-7), its kind too (AR-16).
    fn answer(&mut self, mut frame: Frame, answer: Result<Vec<u8>, String>) -> Result<(), Error> {
        frame.is_error = answer.is_err();
        frame.body.octets = match answer {
            Err(text) if text.is_empty() => "error".into(), // FR-9
            Err(text) => text.into(),
            Ok(octets) => octets,
        };
        self.send(frame.write())
    }

    /// Tells an asker that nothing came of it, and nobody else (NS-9).
    fn refuse(&mut self, frame: Frame, text: &str) {
        if !frame.wait.is_empty() && !frame.is_error {
            let _ = self.answer(frame, Err(text.into()));
        }
    }

    fn stage(&self, place: &Place) -> Option<Stage> {
        self.members.get(place).map(|member| member.stage)
    }

    /// In, or on the way out.
    fn inside(&self, namespace: &str, room: &str) -> bool {
        let stage = self.stage(&(namespace.into(), room.into()));
        stage.is_some_and(|stage| stage != Stage::Entering)
    }

    /// Whether events may be sent there (NS-11, RM-10).
    fn check(&self, namespace: &str, room: &str) -> Result<(), Error> {
        match (self.inside(namespace, ""), self.inside(namespace, room)) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::Misuse("the room is not joined")),
            _ => Err(Error::Misuse("the namespace is not connected")),
        }
    }

    fn set(&mut self, place: &Place, stage: Stage) {
        let fresh = Member { stage, life: Arc::new(()) };
        self.members.entry(place.clone()).or_insert(fresh).stage = stage;
    }

    fn enter(&mut self, place: &Place) {
        self.set(place, Stage::In);
        self.news.push(News::Entered(place.clone()));
    }

    /// A namespace takes its rooms along (NS-14), and the asks in it (NS-18).
    fn exit(&mut self, place: &Place) {
        self.members.remove(place);
        if place.1.is_empty() {
            self.members.retain(|(namespace, _), _| *namespace != place.0);
            let inner = |asked: &Pending| asked.wants == Wants::Reply || !asked.place.1.is_empty();
            self.end(|asked| asked.place.0 == place.0 && inner(asked));
        }
        self.news.push(News::Left(place.clone()));
    }

    /// A caller gets `Lost` when its sender is dropped.
    fn end(&mut self, which: impl Fn(&Pending) -> bool) {
        let ended: Vec<_> = self.pending.extract_if(|_, asked| which(asked)).collect();
        ended.into_iter().for_each(|(token, _)| self.forget(token));
    }

    fn forget(&mut self, token: String) {
        self.ended.push_back(token);
        self.ended.drain(..self.ended.len().saturating_sub(ENDED));
    }

    fn ask(&mut self, frame: Frame) -> Result<Receiver<Result<Body, Error>>, Error> {
        let place = (frame.namespace.clone(), frame.room.clone());
        let wants = Wants::of(&frame.event);
        match (wants, self.stage(&place)) {
            (Wants::Entry, Some(_)) => return Err(Error::Misuse("it is done, or under way")),
            (Wants::Entry, None) if place.1.is_empty() => (),
            (Wants::Entry, None) => self.check(&place.0, "")?,
            (Wants::Exit, Some(Stage::Exiting)) => return Err(Error::Misuse("it is under way")),
            (Wants::Exit | Wants::Reply, _) => self.check(&place.0, &place.1)?,
        }
        if self.pending.len() >= PENDING {
            return Err(Error::Misuse("too many")); // SEC-7
        }
        self.send(frame.write())?;
        match wants {
            Wants::Entry => self.set(&place, Stage::Entering),
            Wants::Exit => self.set(&place, Stage::Exiting),
            Wants::Reply => (),
        }
        let (caller, answer) = sync_channel(1);
        self.pending.insert(frame.wait, Pending { place, wants, caller });
        Ok(answer)
    }

    /// Whether the frame is a reply: the token alone says so (AR-11, AR-13), that of an ended ask
    /// as well (AR-21).
    fn settle(&mut self, frame: &Frame) -> bool {
        let Some(asked) = self.pending.remove(&frame.wait) else {
            return self.ended.contains(&frame.wait);
        };
        self.forget(frame.wait.clone());
        let refused = frame.is_error || asked.wants != Wants::Reply && !frame.is_empty_reply(); // FR-8, AR-19
        match (asked.wants, self.stage(&asked.place)) {
            (Wants::Entry, Some(Stage::Entering)) if refused => {
                self.members.remove(&asked.place);
            }
            (Wants::Entry, Some(Stage::Entering)) => self.enter(&asked.place), // NS-1, RM-1
            (Wants::Exit, Some(Stage::Exiting)) if refused => self.set(&asked.place, Stage::In),
            (Wants::Exit, Some(Stage::Exiting)) => self.exit(&asked.place),
            _ => (), // meanwhile the server has asked for the same (NS-5)
        }
        let body = frame.body.clone();
        let _ =
            asked.caller.send(if refused { Err(Error::Refused(body.to_text())) } else { Ok(body) });
        true
    }

    /// The connection has ended: nothing is sent for what ends with it (TR-15, AR-14).
    fn gone(&mut self) {
        self.writer.take().inspect(|writer| writer.cut());
        self.end(|_| true);
        for (place, member) in std::mem::take(&mut self.members) {
            if member.stage != Stage::Entering && place.1.is_empty() {
                self.news.push(News::Left(place.clone()));
            }
            if member.stage == Stage::In {
                self.lost.insert(place);
            }
        }
    }
}

struct Shared {
    options: Options,
    application: Box<dyn Application>,
    state: Mutex<State>,
    gone: Condvar,
}

#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Duration,
}

/// What an application does. Asks wait for their replies.
impl Client {
    /// Opens a connection. Its id is in the reader, which goes into `run`.
    pub fn dial(
        options: Options,
        application: Box<dyn Application>,
    ) -> Result<(Client, Reader), Error> {
        let (reader, writer) = open(&options.url, &options.headers, 0, options.patience)?;
        let state = Mutex::new(State { writer: Some(writer), ..State::default() });
        let deadline = options.deadline;
        let shared = Arc::new(Shared { options, application, state, gone: Condvar::new() });
        Ok((Client { shared, deadline }, reader))
    }

    /// The same client, with another deadline for asks.
    pub fn within(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    pub fn connect(&self, namespace: &str) -> Result<(), Error> {
        self.request(ENTER[0], namespace, "")
    }

    pub fn disconnect(&self, namespace: &str) -> Result<(), Error> {
        self.request(EXIT[0], namespace, "")
    }

    pub fn join(&self, namespace: &str, room: &str) -> Result<(), Error> {
        self.request(ENTER[1], namespace, room)
    }

    pub fn leave(&self, namespace: &str, room: &str) -> Result<(), Error> {
        self.request(EXIT[1], namespace, room)
    }

    /// One ask for each room (RM-8).
    pub fn leave_all(&self, namespace: &str) -> Result<(), Error> {
        let mut places: Vec<Place> = self.state().members.keys().cloned().collect();
        places.retain(|place| place.0 == namespace && !place.1.is_empty());
        places.iter().try_for_each(|(_, room)| self.leave(namespace, room))
    }

    pub fn emit(&self, namespace: &str, room: &str, event: &str, body: Body) -> Result<(), Error> {
        let frame = Frame::event(namespace, room, free(event)?, body);
        let mut state = self.state();
        state.check(namespace, room)?;
        state.send(frame.write())
    }

    pub fn ask(&self, namespace: &str, room: &str, event: &str, body: Body) -> Result<Body, Error> {
        self.wait(Frame::event(namespace, room, free(event)?, body))
    }

    /// Sends a message as it is, to a server that takes such (NM-1).
    pub fn native(&self, body: Body) -> Result<(), Error> {
        if body.octets.is_empty() || Frame::read(&body).is_some() {
            return Err(Error::Misuse("it would not be read as it is")); // FR-14, NM-3
        }
        let mut state = self.state();
        state.check("", "")?;
        state.send(body.message())
    }

    /// Says that the connection ends, and ends it (TR-12, TR-13).
    pub fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        let Some(writer) = &mut state.writer else { return };
        writer.close(CloseCode::Normal);
        let open = |state: &mut State| state.writer.is_some();
        let (state, _) = self.shared.gone.wait_timeout_while(state, self.deadline, open).unwrap();
        state.writer.as_ref().inspect(|writer| writer.cut());
    }

    fn request(&self, event: &str, namespace: &str, room: &str) -> Result<(), Error> {
        if room.is_empty() && [ENTER[1], EXIT[1]].contains(&event) {
            return Err(Error::Misuse("bad room")); // RM-12
        }
        self.wait(Frame::event(namespace, room, event, Body::default())).map(|_| ())
    }

    fn wait(&self, frame: Frame) -> Result<Body, Error> {
        let token = format!("${:032x}", rand::random::<u128>()); // AR-2, AR-5, AR-6
        let answer = self.state().ask(Frame { wait: token.clone(), ..frame })?;
        answer.recv_timeout(self.deadline).unwrap_or_else(|error| match error {
            RecvTimeoutError::Disconnected => Err(Error::Lost),
            RecvTimeoutError::Timeout => {
                let mut state = self.state();
                // A request stays: its reply says, however late, whether this end is in or out.
                if state.pending.get(&token).is_some_and(|asked| asked.wants == Wants::Reply) {
                    state.pending.remove(&token);
                    state.forget(token);
                }
                Err(Error::Deadline)
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

/// What arrives.
impl Client {
    /// Reads until the connection has ended and is not to be opened again.
    pub fn run(&self, mut reader: Reader) {
        let application = &self.shared.application;
        loop {
            let code = loop {
                match reader.read() {
                    Ok(message) => self.take(message),
                    Err(code) => break code,
                }
            };
            let mut state = self.state();
            if let (Some(writer), Some(code)) = (&mut state.writer, code) {
                writer.close(code);
            }
            state.gone();
            drop(state);
            self.shared.gone.notify_all();
            self.tell();
            let Some(next) = self.again() else { break };
            reader = next;
            application.told(News::Reconnected(reader.id.clone()));
            let client = self.clone();
            thread::spawn(move || client.restore());
        }
        application.told(News::Closed);
    }

    fn tell(&self) {
        let news = std::mem::take(&mut self.state().news);
        news.into_iter().for_each(|news| self.shared.application.told(news));
    }

    fn take(&self, message: Body) {
        let native = self.shared.options.native;
        match Frame::read(&message) {
            Some(frame) if self.state().settle(&frame) => (),
            Some(frame) if LOCAL.contains(&&frame.event[..]) => {
                self.state().refuse(frame, "invalid payload"); // EV-4
            }
            Some(frame) if Wants::of(&frame.event) != Wants::Reply => self.requested(frame),
            Some(frame) => self.deliver(frame, false),
            None if native => self.deliver(Frame::event("", "", NATIVE, message), true),
            None => (), // FR-16, HS-8
        }
        self.tell();
    }

    /// The server asks this end to enter a place or to leave it.
    fn requested(&self, frame: Frame) {
        if frame.wait.is_empty() || frame.is_error || frame.is_no_op {
            return; // NS-2, NS-10, NS-12
        }
        let (entry, of_room) = (
            Wants::of(&frame.event) == Wants::Entry,
            [ENTER[1], EXIT[1]].contains(&&frame.event[..]),
        );
        let room = if of_room { frame.room.clone() } else { String::new() };
        let place = (frame.namespace.clone(), room);
        let known = self.shared.options.namespaces.contains(&place.0);
        let refusal = match entry && !self.state().inside(&place.0, &place.1) {
            true if !known => Some("bad namespace".to_string()), // NS-3
            true => self.shared.application.refuses(&place),     // NS-4, RM-3
            false => None,                                       // NS-5, RM-4
        };
        let mut state = self.state();
        let inside = state.inside(&place.0, &place.1);
        if of_room && !state.inside(&place.0, "") {
            state.refuse(frame, "bad namespace"); // NS-17, RM-6
        } else if of_room && entry && place.1.is_empty() {
            state.refuse(frame, "bad room"); // RM-12
        } else if let Some(text) = refusal {
            state.refuse(frame, &text);
        } else {
            let _ = state.send(Some(Frame::empty_reply(&frame.wait))); // AR-8
            match entry {
                true if !inside => state.enter(&place),
                false if inside && !(of_room && place.1.is_empty()) => state.exit(&place), // NS-13
                _ => (), // NS-8, RM-5
            }
        }
    }

    fn deliver(&self, frame: Frame, native: bool) {
        let mut state = self.state();
        let held =
            state.members.values().map(|member| Arc::weak_count(&member.life)).sum::<usize>();
        if !state.inside(&frame.namespace, "") {
            return state.refuse(frame, "bad namespace"); // NS-9, NS-17
        }
        if !frame.room.is_empty() && !state.inside(&frame.namespace, &frame.room) {
            return; // RM-9
        }
        if held >= PENDING {
            return state.refuse(frame, "too many"); // SEC-7
        }
        let life = Arc::downgrade(&state.members[&(frame.namespace.clone(), String::new())].life);
        drop(state);
        let event = Event { client: self.clone(), frame, native, life };
        self.shared.application.event(event); // EV-2
    }

    /// A new connection in place of the lost one, unless the caller or the server wants none.
    fn again(&self) -> Option<Reader> {
        let Options { url, headers, patience, reconnect, .. } = &self.shared.options;
        let (mut wait, mut tries) = (WAITS[0], 0);
        while *reconnect && !self.state().closing {
            thread::sleep(wait);
            wait = WAITS[1].min(wait * 2);
            if probe(url, *patience).is_err() {
                continue; // TR-5
            }
            tries += 1; // TR-9
            match open(url, headers, tries, *patience) {
                Ok((reader, writer)) => {
                    self.state().writer = Some(writer);
                    return Some(reader);
                }
                Err(Error::Refused(_)) => return None,
                Err(_) => (),
            }
        }
        None
    }

    /// Enters anew what was lost: namespaces before their rooms (TR-11).
    fn restore(&self) {
        while let Some((namespace, room)) = { self.state().lost.first().cloned() } {
            let event = ENTER[usize::from(!room.is_empty())];
            if let Err(Error::Lost) = self.request(event, &namespace, &room) {
                return; // once more, then
            }
            self.state().lost.remove(&(namespace, room));
        }
    }
}

/// A frame that reached the application, and the only way to answer it, once (AR-22).
pub struct Event {
    pub client: Client,
    pub frame: Frame,
    /// It came as it is, beside the frames.
    pub native: bool,
    life: Weak<()>,
}

impl Event {
    /// Sends a body or an error text. Who has nothing to say drops the event (AR-9); who has to
    /// wait first moves it to another thread.
    pub fn reply(self, answer: Result<Vec<u8>, String>) -> Result<(), Error> {
        let mut state = self.client.state();
        self.life.upgrade().ok_or(Error::Lost)?; // NS-18
        if self.native {
            let octets = answer.map_err(|_| Error::Misuse("a native message is no error"))?;
            return state.send(Body { octets, ..self.frame.body }.message()); // NM-7
        }
        if self.frame.wait.is_empty() {
            state.check(&self.frame.namespace, &self.frame.room)?; // AR-10, RM-10
        }
        state.answer(self.frame, answer)
    }
}

/// A name that is not the protocol's own (EV-5).
fn free(event: &str) -> Result<&str, Error> {
    let own = ENTER.contains(&event) || EXIT.contains(&event) || LOCAL.contains(&event);
    if own { Err(Error::Misuse("the name is the protocol's own")) } else { Ok(event) }
}
