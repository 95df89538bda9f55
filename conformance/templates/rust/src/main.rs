//! A driver: performs the operations on standard input with the client, and reports the results
//! (the page "The driver protocol" of the specification). The client is `client.rs`, with
//! `frame.rs` and `socket.rs`; to test another one, replace them. With a folder of session vectors as
//! its argument it plays those instead (`vectors.rs`).

mod client;
mod frame;
mod session;
mod socket;
mod vectors;

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use client::{Application, Client, Error, Event, Options, Report};
use data_encoding::BASE64;
use frame::Body;
use serde_json::{Map, Value, json};
use session::{Membership, NATIVE};

/// The deadline of an operation without a timeout, and of asks outside of one.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A namespace and a room that this client refuses.
const UNWANTED: &str = "unwanted";

type Clients = Arc<Mutex<HashMap<u64, Client>>>;

/// The client's side of the conformance application, on one connection.
struct Conformance {
    connection: u64,
}

impl Application for Conformance {
    fn refuses(&self, (namespace, room): &Membership) -> Option<String> {
        let name = if room.is_empty() { namespace } else { room };
        (name == UNWANTED).then(|| "not wanted".into())
    }

    fn report(&self, report: Report) {
        let (saw, membership, id) = match report {
            Report::Connected(membership) if membership.1.is_empty() => {
                ("connected", membership, None)
            }
            Report::Connected(membership) => ("joined", membership, None),
            Report::Disconnected(membership) if membership.1.is_empty() => {
                ("disconnected", membership, None)
            }
            Report::Disconnected(membership) => ("left", membership, None),
            Report::Reconnected(id) => ("reconnected", Default::default(), Some(id)),
            Report::Closed => ("closed", Default::default(), None),
        };
        let mut line = json!({"saw": saw, "connection": self.connection});
        if let Some(id) = id {
            line["connection_id"] = json!(id);
        } else if saw != "closed" {
            line["namespace"] = json!(membership.0);
        }
        if saw == "joined" || saw == "left" {
            line["room"] = json!(membership.1);
        }
        println!("{line}");
    }

    fn event(&self, event: Event) {
        let frame = &event.frame;
        let mut line = json!({"saw": "event", "connection": self.connection});
        if frame.event == NATIVE {
            if !frame.namespace.is_empty() {
                return; // only the empty namespace has a handler for native messages
            }
            line["saw"] = json!("native");
        } else {
            line["namespace"] = json!(frame.namespace);
            line["room"] = json!(frame.room);
            line["event"] = json!(frame.event);
        }
        if frame.is_error {
            line["error"] = json!(true);
            line["text"] = json!(frame.body.to_text());
        } else {
            put(&mut line, &frame.body);
        }
        println!("{line}");
        let body = frame.body.clone();
        let _ = match &frame.event[..] {
            "echo" | "question" => event.reply(Ok(body.bytes)),
            "fail" => event.reply(Err(body.to_text())),
            "relay" => {
                thread::spawn(move || relay(event));
                Ok(())
            }
            _ => Ok(()),
        };
    }
}

fn relay(event: Event) {
    let frame = &event.frame;
    let answer = event.client.ask(&frame.namespace, "", "echo", frame.body.clone());
    // SEC-17: the text was not written for this peer
    let _ = event.reply(answer.map(|body| body.bytes).map_err(|_| "no answer".to_string()));
}

fn put(line: &mut Value, body: &Body) {
    match body.binary {
        true => line["base64"] = json!(BASE64.encode(&body.bytes)),
        false => line["text"] = json!(body.to_text()),
    }
}

fn body(line: &Value) -> Result<Body, Error> {
    match (&line["text"], &line["base64"]) {
        (Value::String(text), _) => Ok(Body::text(text)),
        (_, Value::String(base64)) => match BASE64.decode(base64.as_bytes()) {
            Ok(bytes) => Ok(Body { bytes, binary: true }),
            Err(_) => Err(Error::Misuse("this is not base64")),
        },
        _ => Err(Error::Misuse("there is no body")),
    }
}

fn main() {
    if let Some(folder) = std::env::args().nth(1) {
        return vectors::play_all(&folder);
    }
    println!(
        "{}",
        json!({"ready": true, "driver": 1, "peer": "neffos-template-rust",
        "version": env!("CARGO_PKG_VERSION"), "runtime": "rust"})
    );
    let clients = Clients::default();
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line: Value =
            line.map_or(Value::Null, |line| serde_json::from_str(&line).unwrap_or_default());
        if !line["id"].is_number() || !line["op"].is_string() {
            println!("{}", json!({"id": line["id"].as_i64(), "error": "this is no operation"}));
            continue;
        }
        let clients = clients.clone();
        thread::spawn(move || match line["op"].as_str() {
            Some("dial") => dial(number, &line, &clients),
            _ => finish(&line, operate(&line, &clients)),
        });
    }
}

/// Writes the answer. None: it is not supported.
fn finish(line: &Value, done: Option<Result<Value, Error>>) {
    println!(
        "{}",
        match done {
            Some(Ok(result)) => json!({"id": line["id"], "result": result}),
            Some(Err(error)) => json!({"id": line["id"], "error": error.to_string()}),
            None => json!({"id": line["id"], "unsupported": true}),
        }
    );
}

fn timeout(line: &Value) -> Duration {
    line["timeout"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(TIMEOUT)
}

/// Opens a connection, and then is the thread that reads it.
fn dial(connection: u64, line: &Value, clients: &Clients) {
    let headers = line["headers"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let options = Options {
        url: text(&line["url"]),
        headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
        namespaces: ["app", "any", "semi;colon", UNWANTED, ""].map(String::from).to_vec(),
        native: true,
        reconnect: line["reconnect"] == true,
        deadline: TIMEOUT,
        timeout: timeout(line),
    };
    match Client::dial(options, Box::new(Conformance { connection })) {
        Ok((client, reader)) => {
            clients.lock().unwrap().insert(connection, client.clone());
            let result = json!({"connection": connection, "connection_id": reader.id});
            finish(line, Some(Ok(result)));
            client.run(reader);
        }
        Err(error) => finish(line, Some(Err(error))),
    }
}

fn operate(line: &Value, clients: &Clients) -> Option<Result<Value, Error>> {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let (namespace, room, event) = (text("namespace"), text("room"), text("event"));
    let number = line["connection"].as_u64().unwrap_or_default();
    let client = clients.lock().unwrap().get(&number).map(|client| client.within(timeout(line)));
    let known =
        ["connect", "disconnect", "join", "leave", "leave-all", "emit", "ask", "native", "close"];
    if !known.contains(&text("op")) {
        return None;
    }
    let Some(client) = client else {
        return Some(Err(Error::Misuse("there is no such connection")));
    };
    let done = match text("op") {
        "connect" => client.connect(namespace),
        "disconnect" => client.disconnect(namespace),
        "join" => client.join(namespace, room),
        "leave" => client.leave(namespace, room),
        "leave-all" => client.leave_all(namespace),
        "emit" => body(line).and_then(|body| client.emit(namespace, room, event, body)),
        "native" => body(line).and_then(|body| client.native(body)),
        "close" => {
            client.close();
            Ok(())
        }
        _ => {
            let answer = body(line).and_then(|body| client.ask(namespace, room, event, body));
            return Some(answer.map(|body| {
                let mut result = Value::Object(Map::new());
                put(&mut result, &body);
                result
            }));
        }
    };
    Some(done.map(|()| json!({})))
}
