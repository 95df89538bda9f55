//! Plays the session vectors to `session.rs`: no socket, no clock, no driver. It prints one line of
//! JSON. `protocol/vectors/README.md` describes the vectors.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::process::exit;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Error, Report};
use crate::frame::{Body, Frame};
use crate::session::{
    CONNECT, DISCONNECT, JOIN, LEAVE, Membership, NATIVE, Received, Session, Writer, membership,
};

/// Collects what a session sends.
struct Collector(Sender<Message>);

impl Writer for Collector {
    fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message).map_err(|_| Error::Lost)
    }
    fn close(&mut self, _: CloseCode) {}
    fn cut(&self) {}
}

/// Why a vector cannot be played to this session.
type Skipped = &'static str;

type Names = BTreeMap<String, String>;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], |each| each)
}

fn filled(given: &str, names: &Names) -> String {
    names.iter().fold(given.into(), |done, (name, value)| done.replace(name, value))
}

/// Builds a payload or a body.
fn built(described: &Value, names: &Names) -> Body {
    if let Some(given) = described.as_str() {
        return Body::text(&filled(given, names));
    }
    let mut bytes = filled(text(described, "binary"), names).into_bytes();
    let hex = text(described, "hex").as_bytes().chunks(2);
    bytes.extend(hex.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()));
    Body { bytes, binary: described.is_object() }
}

fn shown(body: &Body) -> Value {
    json!({"binary": body.binary, "text": String::from_utf8_lossy(&body.bytes), "size": body.bytes.len()})
}

/// Whether a payload is the expected one, of which `<<text>>` may end in any text.
fn matches(expected: &Body, actual: &Body) -> bool {
    let open = expected.bytes.strip_suffix(b"<<text>>");
    let same = match open {
        Some(head) => actual.bytes.starts_with(head) && actual.bytes.len() > head.len(),
        None => actual.bytes == expected.bytes,
    };
    same && actual.binary == expected.binary
}

/// The session of one vector, and its application.
struct Played {
    session: Session,
    sent: Receiver<Message>,
    events: Vec<Value>,
    decides: Vec<String>,
    /// The answers to what the server asks for in this turn; None allows it.
    decisions: VecDeque<Option<String>>,
    /// What waits for the application, by its token.
    asked: HashMap<String, VecDeque<(Frame, Weak<()>)>>,
    deadlines: Vec<(f64, String)>,
    /// The tokens of the session, by their placeholders.
    names: Names,
}

impl Played {
    fn new(vector: &Value) -> Played {
        let (collected, sent) = channel();
        let given = &vector["given"];
        let texts = |name| list(given, name).iter().map(|each| each.as_str().unwrap().to_string());
        let namespaces: Vec<String> = texts("namespaces").collect();
        let native = given["native"].is_string();
        let session = Session::new(&namespaces, native, Box::new(Collector(collected)));
        Played {
            session,
            sent,
            events: vec![],
            decides: texts("decides").collect(),
            decisions: VecDeque::new(),
            asked: HashMap::new(),
            deadlines: vec![],
            names: Names::new(),
        }
    }

    fn receive(&mut self, payload: Body) {
        if payload.bytes.is_empty() {
            return; // `socket.rs` drops it (FR-14)
        }
        match self.session.arrived(payload) {
            Received::Nothing => (),
            Received::Request(frame) => {
                let change = if frame.event == JOIN { "join" } else { "connect" };
                let decides = self.decides.iter().any(|each| each == change);
                let refusal = if decides { self.decisions.pop_front().flatten() } else { None };
                self.session.decide(frame, refusal);
            }
            Received::Event(frame, native, life) => {
                self.events.push(event(&frame, native));
                let waiting = self.asked.entry(frame.wait.clone()).or_default();
                waiting.push_back((frame, life));
            }
        }
    }

    fn ask(&mut self, step: &Value, name: &str, body: Body) {
        let token = format!("$own-{}", self.names.len() + 1);
        let frame = Frame::event(text(step, "namespace"), text(step, "room"), name, body);
        if self.session.ask(Frame { wait: token.clone(), ..frame }).is_ok() {
            self.names.insert(format!("<<t{}>>", self.names.len() + 1), token.clone());
            if let Some(deadline) = step["deadline"].as_f64() {
                self.deadlines.push((deadline, token));
            }
        }
    }

    /// Sends what the application answers to an ask, if it still may.
    fn answer(&mut self, token: &str, answer: Option<Result<Vec<u8>, String>>) {
        let Some((frame, life)) = self.asked.get_mut(token).and_then(VecDeque::pop_front) else {
            return;
        };
        if let (Some(answer), Some(_)) = (answer, Weak::upgrade(&life)) {
            let _ = self.session.answer(frame, answer);
        }
    }

    /// Calls a command of the application.
    fn call(&mut self, step: &Value, asked: &HashMap<u64, String>) -> Result<(), Skipped> {
        let body = built(&step["body"], &self.names);
        let token = step["ask"].as_u64().and_then(|number| asked.get(&number)).cloned();
        let token = token.unwrap_or_default();
        match text(step, "do") {
            "connect" => self.ask(step, CONNECT, Body::default()),
            "disconnect" => self.ask(step, DISCONNECT, Body::default()),
            "join" => self.ask(step, JOIN, Body::default()),
            "leave" => self.ask(step, LEAVE, Body::default()),
            "ask" => self.ask(step, text(step, "event"), body),
            "emit" | "emit-error" | "broadcast" => {
                let names = [text(step, "namespace"), text(step, "room"), text(step, "event")];
                let mut frame = Frame::event(names[0], names[1], names[2], body);
                frame.is_error = text(step, "do") == "emit-error";
                if frame.is_error {
                    frame.body = Body::text(text(step, "text"));
                }
                let _ = self.session.emit(&frame);
            }
            "native" => {
                let _ = self.session.send(body.message());
            }
            "reply" => self.answer(&token, Some(Ok(body.bytes))),
            "reply-error" => self.answer(&token, Some(Err(text(step, "text").into()))),
            "ignore" => self.answer(&token, None),
            "close" => self.session.gone(),
            "allow" | "deny" => (), // it was given before the change was asked for
            _ => return Err("there is no such command"),
        }
        Ok(())
    }

    fn expire(&mut self, now: f64) {
        for (_, token) in self.deadlines.extract_if(.., |(deadline, _)| *deadline <= now) {
            self.session.expire(&token);
        }
    }

    /// What the session has sent and reported since the last time.
    fn outcome(&mut self) -> (Vec<Body>, Vec<Value>) {
        let sent = self.sent.try_iter().map(|message| {
            let binary = message.is_binary();
            Body { bytes: message.into_data().into(), binary }
        });
        let mut events = std::mem::take(&mut self.events);
        for report in self.session.reports.drain(..) {
            match report {
                Report::Connected(membership) => events.push(changed(&membership, true)),
                Report::Disconnected(membership) => events.push(changed(&membership, false)),
                _ => (),
            }
        }
        (sent.collect(), events)
    }
}

fn event(frame: &Frame, native: bool) -> Value {
    if native || frame.event == NATIVE {
        return json!({"native": shown(&frame.body), "namespace": frame.namespace});
    }
    let (namespace, room, name) = (&frame.namespace, &frame.room, &frame.event);
    json!({"namespace": namespace, "room": room, "event": name, "is_error": frame.is_error,
        "body": shown(&frame.body)})
}

fn changed(membership: &Membership, is_entry: bool) -> Value {
    json!({"changed": [membership.0, membership.1], "is_entry": is_entry})
}

/// The events of a turn that this session reports, without what it does not tell.
fn expected_events(events: &[&Value], members: &mut Vec<Membership>, names: &Names) -> Vec<Value> {
    let mut expected = vec![];
    for each in events {
        let message = &each["message"];
        match text(each, "event") {
            "changed" => {
                let change = text(each, "change");
                let is_entry = ["connect", "join"].contains(&change);
                let member = (text(each, "namespace").to_string(), text(each, "room").to_string());
                members.retain(|other| *other != member);
                if is_entry {
                    members.push(member.clone());
                }
                if !(change == "leave" && text(each, "cause") == "forced") {
                    expected.push(changed(&member, is_entry)); // else it ends with its namespace
                }
            }
            "received" | "asked" => {
                let names_of = [text(message, "namespace"), text(message, "room")];
                let mut frame = Frame::event(
                    names_of[0],
                    names_of[1],
                    text(message, "event"),
                    built(&message["body"], names),
                );
                frame.is_error = message["is_error"] == true;
                let place = membership(&frame);
                if place.1.is_empty() || members.contains(&place) {
                    expected.push(event(&frame, false)); // else no handler gets it (RM-9)
                }
            }
            "native-received" => {
                let frame = Frame::event(
                    text(each, "namespace"),
                    "",
                    NATIVE,
                    built(&each["payload"], names),
                );
                expected.push(event(&frame, true));
            }
            _ => (),
        }
    }
    expected
}

fn sorted(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = events.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

/// Each input from outside, with the commands that the application calls after it.
fn turns(steps: &[Value]) -> Vec<Vec<&Value>> {
    let mut turns: Vec<Vec<&Value>> = vec![];
    for step in steps.iter().filter(|step| step["misuse"].is_null()) {
        match turns.last_mut() {
            Some(turn) if step["do"].is_string() => turn.push(step),
            _ => turns.push(vec![step]),
        }
    }
    turns
}

/// Plays a vector; gives what differs.
fn play(vector: &Value) -> Result<Option<Value>, Skipped> {
    let steps = list(vector, "steps");
    if vector["role"] != "client" {
        return Err("there is no server");
    }
    if !vector["given"]["limits"].is_null() {
        return Err("limits cannot be set");
    }
    if vector["given"]["native"] == "only" {
        return Err("there is no native-only session");
    }
    if steps.len() < 2 || list(&steps[1], "events").iter().all(|each| each["event"] != "opened") {
        return Err("the handshake is elsewhere");
    }
    let mut played = Played::new(vector);
    let (mut asked, mut members) = (HashMap::new(), vec![]);
    for (at, mut turn) in turns(&steps[1..]).into_iter().enumerate() {
        if at == 0 {
            turn.remove(0); // the acceptance
        }
        let told: Vec<&Value> = turn.iter().flat_map(|step| list(step, "events")).collect();
        for each in &told {
            let number = each["ask"].as_u64().unwrap_or_default();
            if each["event"] == "asked" {
                asked.insert(number, text(&each["message"], "wait").to_string());
            }
            if each["event"] == "change-asked" {
                let decision = turn.iter().find(|step| {
                    step["ask"] == number && ["allow", "deny"].contains(&text(step, "do"))
                });
                let decision = decision.ok_or("applications decide at once")?;
                played.decisions.push_back(decision["text"].as_str().map(String::from));
            }
        }
        for step in &turn {
            if !step["receive"].is_null() {
                played.receive(built(&step["receive"], &played.names));
            } else if let Some(now) = step["time"].as_f64() {
                played.expire(now);
            } else if step["end"] == true {
                played.session.gone();
            } else {
                played.call(step, &asked)?;
            }
        }
        let (sent, events) = played.outcome();
        let expected = turn.iter().flat_map(|step| list(step, "send"));
        let expected: Vec<Body> = expected.map(|each| built(each, &played.names)).collect();
        let is_sent = expected.len() == sent.len()
            && expected.iter().zip(&sent).all(|(wanted, got)| matches(wanted, got));
        if !is_sent {
            let shown = |all: &[Body]| all.iter().map(shown).collect::<Vec<_>>();
            return Ok(Some(json!({"expected": shown(&expected), "actual": shown(&sent)})));
        }
        let wanted = sorted(&expected_events(&told, &mut members, &played.names));
        let got = sorted(&events);
        if wanted != got {
            return Ok(Some(json!({"expected": wanted, "actual": got})));
        }
        if told.iter().any(|each| each["event"] == "closed") {
            break;
        }
    }
    Ok(None)
}

/// Plays all vectors of a folder, prints the result, and ends the process.
pub fn play_all(folder: &str) {
    let (mut count, mut skipped, mut failed) = (0, BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(folder).expect("the folder of the vectors") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|suffix| suffix != "json") || path.ends_with("schema.json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).expect("JSON");
        assert_eq!(file["format"], 1, "{} has another format", path.display());
        for vector in list(&file, "vectors") {
            match play(vector) {
                Ok(None) => count += 1,
                Ok(Some(difference)) => {
                    drop(failed.insert(text(vector, "id").to_string(), difference))
                }
                Err(reason) => *skipped.entry(reason).or_insert(0) += 1,
            }
        }
    }
    println!("{}", json!({"played": count, "skipped": skipped, "failed": failed}));
    exit((!failed.is_empty() || count == 0) as i32);
}
