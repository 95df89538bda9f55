//! The rules of one connection: what may be sent, and what that which arrives means. Nothing here
//! waits or calls the application. The identifiers are those of the specification.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::take;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use tungstenite::Message;

use crate::client::{Error, News};
use crate::frame::{Body, Frame};
use crate::socket::Writer;

/// The four requests (EV-3).
pub const CONNECT: &str = "_OnNamespaceConnect";
pub const DISCONNECT: &str = "_OnNamespaceDisconnect";
pub const JOIN: &str = "_OnRoomJoin";
pub const LEAVE: &str = "_OnRoomLeave";
/// Names for what an end has done itself: never on the wire (EV-4, EV-5).
const LOCAL: [&str; 4] = ["_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"];
pub const NATIVE: &str = "_OnNativeMessage";

/// Asks of either end that may be pending at a time (SEC-7): a thread waits for each.
const PENDING: usize = 1024;
/// Tokens of ended asks that are remembered, to know late replies by (AR-21).
const ENDED: usize = 1024;

/// A namespace and no room, or a room in it: no room's name is empty (RM-12).
pub type Place = (String, String);

/// Where a frame belongs. The room of a connect or disconnect means nothing.
pub fn place(frame: &Frame) -> Place {
    let room = if [CONNECT, DISCONNECT].contains(&&frame.event[..]) { "" } else { &frame.room };
    (frame.namespace.clone(), room.into())
}

#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Entry,
    Exit,
    Reply,
}

fn wants(frame: &Frame) -> Wants {
    match &frame.event[..] {
        CONNECT | JOIN => Wants::Entry,
        DISCONNECT | LEAVE => Wants::Exit,
        _ => Wants::Reply,
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

/// What the application has to do with something that arrived.
pub enum Arrived {
    Nothing,
    /// To say whether the server may have this end enter a place; then comes `decide`.
    Request(Frame),
    /// To handle it. The flag: it came as it is, beside the frames.
    Event(Frame, bool, Weak<()>),
}

#[derive(Default)]
pub struct Session {
    /// Those that the application has handlers for (NS-3).
    namespaces: Vec<String>,
    /// Whether what is no frame is a native message (NM-2).
    native: bool,
    pub writer: Option<Writer>,
    pub closing: bool,
    /// To be told to the application.
    pub news: Vec<News>,
    /// To be entered anew (TR-11).
    pub lost: BTreeSet<Place>,
    /// What is not here is out.
    members: BTreeMap<Place, Member>,
    pending: HashMap<String, Pending>,
    ended: VecDeque<String>,
}

impl Session {
    pub fn new(namespaces: &[String], native: bool, writer: Writer) -> Session {
        let (namespaces, writer) = (namespaces.to_vec(), Some(writer));
        Session { namespaces, native, writer, ..Session::default() }
    }

    pub fn send(&mut self, message: Option<Message>) -> Result<(), Error> {
        let message = message.ok_or(Error::Misuse("no message can hold this"))?;
        self.writer.as_mut().ok_or(Error::Lost)?.send(message)
    }

    /// Sends an event, where events can be sent (NS-11, RM-10).
    pub fn emit(&mut self, frame: &Frame) -> Result<(), Error> {
        self.check(frame)?;
        self.send(frame.write())
    }

    pub fn check(&self, frame: &Frame) -> Result<(), Error> {
        let own = [CONNECT, DISCONNECT, JOIN, LEAVE].iter().chain(&LOCAL);
        match place(frame) {
            _ if own.into_iter().any(|name| frame.event == *name) => {
                Err(Error::Misuse("the name is the protocol's own")) // EV-5
            }
            (namespace, _) if !self.inside(&(namespace.clone(), "".into())) => {
                Err(Error::Misuse("the namespace is not connected"))
            }
            place if !self.inside(&place) => Err(Error::Misuse("the room is not joined")),
            _ => Ok(()),
        }
    }

    /// Sends an ask. What comes of it comes through the channel; nothing, if it ends before.
    pub fn ask(&mut self, frame: Frame) -> Result<Receiver<Result<Body, Error>>, Error> {
        let (place, wants) = (place(&frame), wants(&frame));
        let home = (place.0.clone(), String::new());
        match &frame.event[..] {
            JOIN | LEAVE if place == home => return Err(Error::Misuse("bad room")), // RM-12
            JOIN if !self.inside(&home) => return Err(Error::Misuse("bad namespace")), // RM-6
            CONNECT | JOIN if self.stage(&place).is_none() => (),
            DISCONNECT | LEAVE if self.stage(&place) == Some(Stage::In) => (),
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
            Wants::Entry => self.set(&place, Stage::Entering),
            Wants::Exit => self.set(&place, Stage::Exiting),
            Wants::Reply => (),
        }
        let (caller, answer) = sync_channel(1);
        self.pending.insert(frame.wait, Pending { place, wants, caller });
        Ok(answer)
    }

    /// A caller has waited long enough (AR-15). A request stays pending: its reply says, however
    /// late, whether this end is in or out.
    pub fn expire(&mut self, token: &str) {
        if self.pending.get(token).is_some_and(|asked| asked.wants == Wants::Reply) {
            self.pending.remove(token);
            self.forget(token.into());
        }
    }

    /// Sends a frame back with another body: the rest of it stays (AR-7), its kind too (AR-16).
    pub fn answer(
        &mut self,
        mut frame: Frame,
        answer: Result<Vec<u8>, String>,
    ) -> Result<(), Error> {
        frame.is_error = answer.is_err();
        frame.body.octets = match answer {
            Err(text) if text.is_empty() => "error".into(), // FR-9
            Err(text) => text.into(),
            Ok(octets) => octets,
        };
        self.send(frame.write())
    }

    pub fn arrived(&mut self, message: Body) -> Arrived {
        match Frame::read(&message) {
            None if !self.native => return Arrived::Nothing, // FR-16, HS-8
            None => return self.event(Frame::event("", "", NATIVE, message), true),
            Some(frame) if self.settle(&frame) => (),
            Some(frame) if LOCAL.contains(&&frame.event[..]) => {
                self.refuse(frame, "invalid payload")
            }
            Some(frame) if wants(&frame) == Wants::Reply => return self.event(frame, false),
            Some(frame) => return self.request(frame),
        }
        Arrived::Nothing
    }

    /// Whether the frame is a reply: the token alone says so (AR-11, AR-13), even that of an ask
    /// which has ended (AR-21).
    fn settle(&mut self, frame: &Frame) -> bool {
        let Some(Pending { place, wants, caller }) = self.pending.remove(&frame.wait) else {
            return self.ended.contains(&frame.wait);
        };
        self.forget(frame.wait.clone());
        let request = wants != Wants::Reply;
        let refused = frame.is_error || request && !frame.is_empty_reply(); // FR-8, AR-19
        match (self.stage(&place), refused) {
            (Some(Stage::Entering), false) if wants == Wants::Entry => self.enter(&place),
            (Some(Stage::Entering), true) if wants == Wants::Entry => {
                drop(self.members.remove(&place))
            }
            (Some(Stage::Exiting), false) if wants == Wants::Exit => self.exit(&place),
            (Some(Stage::Exiting), true) if wants == Wants::Exit => self.set(&place, Stage::In),
            _ => (), // an event, or meanwhile the server has asked for the same (NS-5)
        }
        let body = frame.body.clone();
        let _ = caller.send(if refused { Err(Error::Refused(body.to_text())) } else { Ok(body) });
        true
    }

    fn event(&mut self, frame: Frame, native: bool) -> Arrived {
        let held: usize = self.members.values().map(|member| Arc::weak_count(&member.life)).sum();
        match self.members.get(&(frame.namespace.clone(), "".into())) {
            Some(member) if member.stage != Stage::Entering => {
                if held < PENDING && self.inside(&place(&frame)) {
                    return Arrived::Event(frame, native, Arc::downgrade(&member.life)); // EV-2
                } else if held >= PENDING {
                    self.refuse(frame, "too many"); // SEC-7
                } // else it is for a room that was not joined (RM-9)
            }
            _ => self.refuse(frame, "bad namespace"), // NS-9, NS-17
        }
        Arrived::Nothing
    }

    /// The server asks this end to enter a place or to leave it.
    fn request(&mut self, frame: Frame) -> Arrived {
        let place = place(&frame);
        let home = (place.0.clone(), String::new());
        match &frame.event[..] {
            _ if frame.wait.is_empty() || frame.is_error || frame.is_no_op => (), // NS-2, 10, 12
            JOIN | LEAVE if !self.inside(&home) => self.refuse(frame, "bad namespace"), // NS-17
            JOIN if place == home => self.refuse(frame, "bad room"),              // RM-12
            CONNECT if !self.inside(&place) && !self.namespaces.contains(&place.0) => {
                self.refuse(frame, "bad namespace"); // NS-3
            }
            CONNECT | JOIN if !self.inside(&place) => return Arrived::Request(frame),
            event => {
                let _ = self.send(Frame::empty_reply(&frame.wait).write()); // NS-5, NS-8, RM-4, RM-5
                if self.inside(&place) && (event == DISCONNECT || event == LEAVE && place != home) {
                    self.exit(&place); // NS-6, NS-13, RM-2
                }
            }
        }
        Arrived::Nothing
    }

    /// The application allows a request, or refuses it with a text.
    pub fn decide(&mut self, frame: Frame, refusal: Option<String>) {
        let place = place(&frame);
        match refusal {
            Some(text) => self.refuse(frame, &text), // NS-4, RM-3
            None if frame.event == JOIN && !self.inside(&(place.0.clone(), "".into())) => {
                self.refuse(frame, "bad namespace"); // it was disconnected meanwhile
            }
            None => {
                let _ = self.send(Frame::empty_reply(&frame.wait).write()); // AR-8
                self.enter(&place); // NS-1, RM-1
            }
        }
    }

    /// Tells an asker that nothing comes of it, and nobody else (NS-9).
    fn refuse(&mut self, frame: Frame, text: &str) {
        if !frame.wait.is_empty() && !frame.is_error {
            let _ = self.answer(frame, Err(text.into()));
        }
    }

    fn stage(&self, place: &Place) -> Option<Stage> {
        self.members.get(place).map(|member| member.stage)
    }

    /// In, or on the way out.
    fn inside(&self, place: &Place) -> bool {
        self.stage(place).is_some_and(|stage| stage != Stage::Entering)
    }

    pub fn rooms(&self, namespace: &str) -> Vec<Place> {
        let places = self.members.keys().filter(|place| place.0 == namespace);
        places.filter(|place| !place.1.is_empty()).cloned().collect()
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

    /// The connection has ended: nothing is sent for what ends with it (TR-15, AR-14).
    pub fn gone(&mut self) {
        self.writer.take().inspect(Writer::cut);
        self.end(|_| true);
        for (place, member) in take(&mut self.members) {
            if member.stage != Stage::Entering && place.1.is_empty() {
                self.news.push(News::Left(place.clone()));
            }
            if member.stage == Stage::In {
                self.lost.insert(place);
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
