//! The seven fields of a frame, to and from one WebSocket message. Knows no connection.
//!
//! Names are compared as strings after unescaping (FR-18, SEC-15). tungstenite joins fragments
//! (FR-15), and refuses a message over its limit by its header (SEC-1).

use tungstenite::Message;

/// Stands for one `;` in a namespace, a room or an event (FR-3).
const ESCAPE: &str = "@%!semicolon@%!";

/// Bytes, and the type of the message that carries them: binary, or text (FR-11).
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub binary: bool,
}

impl Body {
    pub fn text(text: &str) -> Body {
        Body { bytes: text.as_bytes().to_vec(), binary: false }
    }

    /// The body as text: an error text is text in either type (FR-17).
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// As one message. None: a text that is not UTF-8 (FR-12).
    pub fn message(self) -> Option<Message> {
        if self.binary {
            return Some(Message::binary(self.bytes));
        }
        String::from_utf8(self.bytes).ok().map(Message::text)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The token of an ask, or of the reply to it; empty if no reply is expected (AR-1).
    pub wait: String,
    pub namespace: String,
    pub room: String,
    pub event: String,
    pub is_error: bool,
    pub is_no_op: bool,
    pub body: Body,
}

impl Frame {
    /// A frame that expects no reply.
    pub fn event(namespace: &str, room: &str, event: &str, body: Body) -> Frame {
        let (namespace, room, event) = (namespace.into(), room.into(), event.into());
        Frame { namespace, room, event, body, ..Frame::default() }
    }

    /// None if it is not a frame: fewer than six `;` (FR-2), or names that are not UTF-8, which no
    /// `String` can contain.
    pub fn read(message: &Body) -> Option<Frame> {
        let fields: Vec<&[u8]> = message.bytes.splitn(7, |byte| *byte == b';').collect(); // FR-1
        let [wait, namespace, room, event, is_error, is_no_op, body] = fields[..] else {
            return None;
        };
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        Some(Frame {
            wait: text(wait)?, // never escaped (FR-5)
            namespace: text(namespace)?.replace(ESCAPE, ";"),
            room: text(room)?.replace(ESCAPE, ";"),
            event: text(event)?.replace(ESCAPE, ";"),
            is_error: is_error == b"1", // anything else is false (FR-7)
            is_no_op: is_no_op == b"1",
            body: Body { bytes: body.to_vec(), ..*message }, // as it is (FR-10)
        })
    }

    /// None if a token or a name cannot be read back (FR-4, FR-5), or text is not UTF-8. A token
    /// alone is the empty reply (FR-13).
    pub fn write(&self) -> Option<Message> {
        let name = |name: &str| {
            let escaped = name.replace(';', ESCAPE);
            (escaped.replace(ESCAPE, ";") == name).then_some(escaped)
        };
        let wait = (!self.wait.contains(';')).then_some(&self.wait)?;
        let (namespace, room) = (name(&self.namespace)?, name(&self.room)?);
        let event = name(&self.event)?;
        let flags = match self.is_empty_reply() && !wait.is_empty() && !self.is_no_op {
            true => ";".to_string(),
            false => format!("{};{}", self.is_error as u8, self.is_no_op as u8), // FR-6
        };
        let head = format!("{wait};{namespace};{room};{event};{flags};");
        let bytes = [head.as_bytes(), &self.body.bytes].concat();
        Body { bytes, binary: self.body.binary }.message()
    }

    /// Says only that a request succeeded; text, whatever the type of the ask (FR-13).
    pub fn empty_reply(token: &str) -> Frame {
        Frame { wait: token.into(), ..Frame::default() }
    }

    /// Nothing else is success of a request (AR-19, FR-8).
    pub fn is_empty_reply(&self) -> bool {
        let names = [&self.namespace, &self.room, &self.event];
        !self.is_error && names.iter().all(|name| name.is_empty()) && self.body.bytes.is_empty()
    }
}
