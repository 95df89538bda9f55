//! The protocol state of one connection: what may be sent, and what a received message means.
//! Nothing here waits or calls the application. The IDs are those of the requirements.
//!
//! What needs no code of its own: a token is `$` and a number, so that it begins with no `#` and no
//! `neffos(0x`, and has no `!` (AR-4, AR-23, SX-1). A wait field is repeated as it came (AR-18,
//! SX-10). Requests always have a token (NS-20). The empty namespace is one like any other (NS-15).
//! A membership begins with the reply in its place among the messages, and ends with the reply to
//! its end (NS-16, RM-14, NS-19, HS-18). What a handler sends is sent at once, before its reply (EV-11).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::take;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Error, Report};
use crate::frame::{Body, Frame};

/// The four requests (EV-3).
pub const CONNECT: &str = "_OnNamespaceConnect";
pub const DISCONNECT: &str = "_OnNamespaceDisconnect";
pub const JOIN: &str = "_OnRoomJoin";
pub const LEAVE: &str = "_OnRoomLeave";
/// Local events: never on the wire (EV-4, EV-5).
const LOCAL: [&str; 4] = ["_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"];
pub const NATIVE: &str = "_OnNativeMessage";

/// Pending asks of either peer at a time (SEC-7): a thread waits for each.
const PENDING: usize = 1024;
/// Tokens of settled asks that are remembered, to recognise late replies (AR-21).
const ENDED: usize = 1024;

/// A namespace and no room, or a room in it: no room's name is empty (RM-12).
/// A room belongs to its namespace (RM-11).
pub type Membership = (String, String);

/// The membership that a frame concerns. The room of a connect or disconnect means nothing.
pub fn membership(frame: &Frame) -> Membership {
    let room = if [CONNECT, DISCONNECT].contains(&&frame.event[..]) { "" } else { &frame.room };
    (frame.namespace.clone(), room.into())
}

/// Where the messages of a session go: a connection, or what collects them.
pub trait Writer: Send {
    fn send(&mut self, message: Message) -> Result<(), Error>;
    fn close(&mut self, code: CloseCode);
    fn cut(&self);
}

#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Connected,
    Disconnected,
    Reply,
}

fn wants(frame: &Frame) -> Wants {
    match &frame.event[..] {
        CONNECT | JOIN => Wants::Connected,
        DISCONNECT | LEAVE => Wants::Disconnected,
        _ => Wants::Reply,
    }
}

struct Pending {
    membership: Membership,
    wants: Wants,
    /// The server has brought about the same meanwhile: the reply changes nothing (NS-5, RM-13).
    superseded: bool,
    caller: SyncSender<Result<Body, Error>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Connecting,
    Connected,
    Disconnecting,
}

/// `life` ends with the membership, and with it the handlers' right to reply (NS-18).
struct Member {
    state: State,
    life: Arc<()>,
}

/// What the application has to do with a received message.
pub enum Received {
    Nothing,
    /// To decide whether the server may connect a namespace or join a room; then call `decide`.
    Request(Frame),
    /// To handle it. The flag: it is a native message.
    Event(Frame, bool, Weak<()>),
}

#[derive(Default)]
pub struct Session {
    /// Those that the application has handlers for (NS-3).
    namespaces: Vec<String>,
    /// Whether a payload that is not a frame is a native message (NM-2).
    native: bool,
    pub writer: Option<Box<dyn Writer>>,
    pub closing: bool,
    /// For the application.
    pub reports: Vec<Report>,
    /// To be restored (TR-11).
    pub lost: BTreeSet<Membership>,
    /// A membership that is not here is disconnected.
    members: BTreeMap<Membership, Member>,
    pending: HashMap<String, Pending>,
    ended: VecDeque<String>,
}

impl Session {
    pub fn new(namespaces: &[String], native: bool, writer: Box<dyn Writer>) -> Session {
        let (namespaces, writer) = (namespaces.to_vec(), Some(writer));
        Session { namespaces, native, writer, ..Session::default() }
    }

    pub fn send(&mut self, message: Option<Message>) -> Result<(), Error> {
        let message = message.ok_or(Error::Misuse("no message can hold this"))?;
        self.writer.as_mut().ok_or(Error::Lost)?.send(message)
    }

    /// Sends an event, if the membership allows it (NS-11, RM-10).
    pub fn emit(&mut self, frame: &Frame) -> Result<(), Error> {
        self.check(frame)?;
        self.send(frame.write())
    }

    pub fn check(&self, frame: &Frame) -> Result<(), Error> {
        let own = [CONNECT, DISCONNECT, JOIN, LEAVE].iter().chain(&LOCAL);
        match membership(frame) {
            _ if own.into_iter().any(|name| frame.event == *name) => {
                Err(Error::Misuse("the name is the protocol's own")) // EV-5
            }
            (namespace, _) if !self.is_connected(&(namespace.clone(), "".into())) => {
                Err(Error::Misuse("the namespace is not connected"))
            }
            membership if !self.is_connected(&membership) => {
                Err(Error::Misuse("the room is not joined"))
            }
            _ => Ok(()),
        }
    }

    /// Sends an ask. Its result comes through the channel, which is closed if the ask is lost.
    pub fn ask(&mut self, frame: Frame) -> Result<Receiver<Result<Body, Error>>, Error> {
        let (membership, wants) = (membership(&frame), wants(&frame));
        let home = (membership.0.clone(), String::new());
        match &frame.event[..] {
            JOIN | LEAVE if membership == home => return Err(Error::Misuse("bad room")), // RM-12
            JOIN if !self.is_connected(&home) => return Err(Error::Misuse("bad namespace")), // RM-6
            CONNECT | JOIN if self.state(&membership).is_none() => (),
            DISCONNECT | LEAVE if self.state(&membership) == Some(State::Connected) => (),
            CONNECT | JOIN | DISCONNECT | LEAVE => {
                return Err(Error::Misuse("it is so, or under way"));
            }
            _ => self.check(&frame)?,
        }
        if self.pending.len() >= PENDING {
            return Err(Error::Misuse("too many")); // SEC-7
        }
        self.send(frame.write())?;
        match wants {
            Wants::Connected => self.set(&membership, State::Connecting),
            Wants::Disconnected => self.set(&membership, State::Disconnecting),
            Wants::Reply => (),
        }
        let (caller, answer) = sync_channel(1);
        let pending = Pending { membership, wants, superseded: false, caller };
        self.pending.insert(frame.wait, pending);
        Ok(answer)
    }

    /// The deadline of an ask has passed (AR-15). A request stays pending: its reply says, however
    /// late, whether the membership has changed.
    pub fn expire(&mut self, token: &str) {
        if self.pending.get(token).is_some_and(|asked| asked.wants == Wants::Reply) {
            self.pending.remove(token);
            self.forget(token.into());
        }
    }

    /// Sends a frame back with another body: the rest stays (AR-7), also its type (AR-16).
    pub fn answer(
        &mut self,
        mut frame: Frame,
        answer: Result<Vec<u8>, String>,
    ) -> Result<(), Error> {
        frame.is_error = answer.is_err();
        frame.body.bytes = match answer {
            Err(text) if text.is_empty() => "error".into(), // FR-9
            Err(text) => text.into(),
            Ok(bytes) => bytes,
        };
        self.send(frame.write())
    }

    pub fn arrived(&mut self, message: Body) -> Received {
        match Frame::read(&message) {
            None if !self.native => return Received::Nothing, // FR-16, HS-8
            None => return self.event(Frame::event("", "", NATIVE, message), true),
            Some(frame) if self.settle(&frame) => (),
            Some(frame) if LOCAL.contains(&&frame.event[..]) => {
                self.refuse(frame, "invalid payload")
            }
            Some(frame) if wants(&frame) == Wants::Reply => return self.event(frame, false),
            Some(frame) => return self.request(frame),
        }
        Received::Nothing
    }

    /// Whether the frame is a reply: the token alone decides (AR-11, AR-13), even that of a settled
    /// ask (AR-21).
    fn settle(&mut self, frame: &Frame) -> bool {
        let Some(asked) = self.pending.remove(&frame.wait) else {
            return self.ended.contains(&frame.wait);
        };
        let Pending { membership, wants, superseded, caller } = asked;
        self.forget(frame.wait.clone());
        let request = wants != Wants::Reply;
        let refused = frame.is_error || request && !frame.is_empty_reply(); // FR-8, AR-19
        match (self.state(&membership).filter(|_| !superseded), refused) {
            (Some(State::Connecting), false) if wants == Wants::Connected => {
                self.connected(&membership)
            }
            (Some(State::Connecting), true) if wants == Wants::Connected => {
                drop(self.members.remove(&membership))
            }
            (Some(State::Disconnecting), false) if wants == Wants::Disconnected => {
                self.disconnected(&membership)
            }
            (Some(State::Disconnecting), true) if wants == Wants::Disconnected => {
                self.set(&membership, State::Connected)
            }
            _ => (), // an event, or meanwhile the server has asked for the same (NS-5)
        }
        let body = frame.body.clone();
        let _ = caller.send(if refused { Err(Error::Refused(body.to_text())) } else { Ok(body) });
        true
    }

    /// An event, an error as an error (EV-6), or a native message of its namespace (NM-5).
    fn event(&mut self, frame: Frame, native: bool) -> Received {
        let held: usize = self.members.values().map(|member| Arc::weak_count(&member.life)).sum();
        match self.members.get(&(frame.namespace.clone(), "".into())) {
            Some(member) if member.state != State::Connecting => {
                if held < PENDING && self.is_connected(&membership(&frame)) {
                    return Received::Event(frame, native, Arc::downgrade(&member.life)); // EV-2
                } else if held >= PENDING {
                    self.refuse(frame, "too many"); // SEC-7
                } // else it is for a room that was not joined (RM-9)
            }
            _ => self.refuse(frame, "bad namespace"), // NM-4, NS-9, NS-17
        }
        Received::Nothing
    }

    /// The server asks to change a membership.
    fn request(&mut self, frame: Frame) -> Received {
        let membership = membership(&frame);
        let home = (membership.0.clone(), String::new());
        match &frame.event[..] {
            // NS-2, NS-10, NS-12
            _ if frame.wait.is_empty() || frame.is_error || frame.is_no_op => (),
            JOIN | LEAVE if !self.is_connected(&home) => self.refuse(frame, "bad namespace"), // NS-17
            JOIN if membership == home => self.refuse(frame, "bad room"), // RM-12
            CONNECT
                if !self.is_connected(&membership) && !self.namespaces.contains(&membership.0) =>
            {
                self.refuse(frame, "bad namespace"); // NS-3
            }
            CONNECT | JOIN if !self.is_connected(&membership) => return Received::Request(frame),
            event => {
                let _ = self.send(Frame::empty_reply(&frame.wait).write()); // NS-5, NS-8, RM-4, RM-5
                if self.is_connected(&membership)
                    && (event == DISCONNECT || event == LEAVE && membership != home)
                {
                    self.disconnected(&membership); // NS-6, NS-13, RM-2
                }
            }
        }
        Received::Nothing
    }

    /// The application allows a request, or refuses it with a text.
    pub fn decide(&mut self, frame: Frame, refusal: Option<String>) {
        let membership = membership(&frame);
        match refusal {
            Some(text) => self.refuse(frame, &text), // NS-4, RM-3
            None if frame.event == JOIN
                && !self.is_connected(&(membership.0.clone(), "".into())) =>
            {
                self.refuse(frame, "bad namespace"); // it was disconnected meanwhile
            }
            None => {
                let _ = self.send(Frame::empty_reply(&frame.wait).write()); // AR-8, AR-20
                self.connected(&membership); // NS-1, RM-1
            }
        }
    }

    /// Sends an error reply to an ask, and nothing to an event without a token (NS-9).
    fn refuse(&mut self, frame: Frame, text: &str) {
        if !frame.wait.is_empty() && !frame.is_error {
            let _ = self.answer(frame, Err(text.into()));
        }
    }

    fn state(&self, membership: &Membership) -> Option<State> {
        self.members.get(membership).map(|member| member.state)
    }

    /// Connected, or disconnecting.
    fn is_connected(&self, membership: &Membership) -> bool {
        self.state(membership).is_some_and(|state| state != State::Connecting)
    }

    pub fn rooms(&self, namespace: &str) -> Vec<Membership> {
        let memberships = self.members.keys().filter(|membership| membership.0 == namespace);
        memberships.filter(|membership| !membership.1.is_empty()).cloned().collect()
    }

    fn set(&mut self, membership: &Membership, state: State) {
        let fresh = Member { state, life: Arc::new(()) };
        self.members.entry(membership.clone()).or_insert(fresh).state = state;
    }

    fn supersede(&mut self, membership: &Membership) {
        for asked in self.pending.values_mut().filter(|asked| asked.membership == *membership) {
            asked.superseded = true;
        }
    }

    fn connected(&mut self, membership: &Membership) {
        self.supersede(membership);
        self.set(membership, State::Connected);
        self.reports.push(Report::Connected(membership.clone()));
    }

    /// The rooms of a namespace end with it (NS-14), and its asks (NS-18).
    fn disconnected(&mut self, membership: &Membership) {
        self.supersede(membership);
        self.members.remove(membership);
        if membership.1.is_empty() {
            self.members.retain(|(namespace, _), _| *namespace != membership.0);
            let inner =
                |asked: &Pending| asked.wants == Wants::Reply || !asked.membership.1.is_empty();
            self.end(|asked| asked.membership.0 == membership.0 && inner(asked));
        }
        self.reports.push(Report::Disconnected(membership.clone()));
    }

    /// The connection has ended: nothing is sent for memberships and asks (TR-15, AR-14).
    pub fn gone(&mut self) {
        self.writer.take().inspect(|writer| writer.cut());
        self.end(|_| true);
        for (membership, member) in take(&mut self.members) {
            if member.state != State::Connecting && membership.1.is_empty() {
                self.reports.push(Report::Disconnected(membership.clone()));
            }
            if member.state == State::Connected {
                self.lost.insert(membership);
            }
        }
    }

    fn end(&mut self, which: impl Fn(&Pending) -> bool) {
        let ended: Vec<_> = self.pending.extract_if(|_, asked| which(asked)).collect();
        ended.into_iter().for_each(|(token, _)| self.forget(token));
    }

    fn forget(&mut self, token: String) {
        self.ended.push_back(token);
        self.ended.drain(..self.ended.len().saturating_sub(ENDED));
    }
}
