//! ONC RPC calls and replies (RFC 5531), over datagrams and with record marking over streams.

use onc_rpc::auth::AuthFlavor;
use onc_rpc::{AcceptedStatus, AuthError, CallBody, MessageType, RejectedReply, ReplyBody, RpcMessage};

use super::{Ask, Framing};

/// Longest reply that is put together from fragments; a peer may announce 2 GiB in one.
pub const MAX_RECORD: usize = 64 * 1024;

/// Most fragments of one record: empty ones cost the peer four bytes each.
const MAX_FRAGMENTS: usize = 64;

/// Set in a record mark when no fragment follows (RFC 5531, section 11).
const LAST_FRAGMENT: u32 = 1 << 31;

const RECORD_MARK: usize = 4;

/// A call without credentials and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub xid: u32,
    pub program: u32,
    pub version: u32,
    pub procedure: u32,
}

impl Call {
    /// With a record mark, for streams.
    pub fn to_record(self) -> Vec<u8> {
        let none: AuthFlavor<&[u8]> = AuthFlavor::AuthNone(None);
        let body = CallBody::new(self.program, self.version, self.procedure, none.clone(), none, &[][..]);
        let message = RpcMessage::new(self.xid, MessageType::Call(body));
        // Writing into memory, far below the length limit.
        message.serialise().unwrap_or_default()
    }

    /// Without, for datagrams.
    pub fn to_datagram(self) -> Vec<u8> {
        self.to_record().split_off(RECORD_MARK)
    }
}

/// What the server did with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted and executed; the results, still in XDR.
    Success(Vec<u8>),
    ProgramUnavailable,
    /// The server has the program, in versions `low` to `high`.
    ProgramMismatch {
        low: u32,
        high: u32,
    },
    ProcedureUnavailable,
    GarbageArguments,
    SystemError,
    /// Denied: another version of RPC itself.
    RpcMismatch {
        low: u32,
        high: u32,
    },
    /// Denied for the credentials (or the lack of them).
    AuthError(&'static str),
}

impl Outcome {
    /// Fixed word for decision tables.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::ProgramUnavailable => "program-unavailable",
            Self::ProgramMismatch { .. } => "program-mismatch",
            Self::ProcedureUnavailable => "procedure-unavailable",
            Self::GarbageArguments => "garbage-arguments",
            Self::SystemError => "system-error",
            Self::RpcMismatch { .. } => "rpc-mismatch",
            Self::AuthError(_) => "auth-error",
        }
    }
}

/// A reply and the transaction it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub xid: u32,
    pub outcome: Outcome,
}

impl Reply {
    /// Reads one datagram.
    pub fn from_datagram(datagram: &[u8]) -> Option<Self> {
        // The envelope parser expects a record: give it one.
        let length = u32::try_from(datagram.len()).ok().filter(|_| datagram.len() <= MAX_RECORD)?;
        let mut record = Vec::with_capacity(RECORD_MARK + datagram.len());
        record.extend_from_slice(&(length | LAST_FRAGMENT).to_be_bytes());
        record.extend_from_slice(datagram);
        let message = RpcMessage::try_from(record.as_slice()).ok()?;
        let outcome = match message.reply_body()? {
            ReplyBody::Accepted(reply) => match reply.status() {
                AcceptedStatus::Success(results) => Outcome::Success(results.to_vec()),
                AcceptedStatus::ProgramUnavailable => Outcome::ProgramUnavailable,
                AcceptedStatus::ProgramMismatch { low, high } => Outcome::ProgramMismatch { low: *low, high: *high },
                AcceptedStatus::ProcedureUnavailable => Outcome::ProcedureUnavailable,
                AcceptedStatus::GarbageArgs => Outcome::GarbageArguments,
                AcceptedStatus::SystemError => Outcome::SystemError,
            },
            ReplyBody::Denied(RejectedReply::RpcVersionMismatch { low, high }) => {
                Outcome::RpcMismatch { low: *low, high: *high }
            }
            ReplyBody::Denied(RejectedReply::AuthError(error)) => Outcome::AuthError(auth_error(error)),
        };
        Some(Self { xid: message.xid(), outcome })
    }

    /// Reads one record from a stream; what follows it is left alone.
    pub fn from_stream(received: &[u8]) -> Option<Self> {
        match Record::read(received) {
            Record::Whole { payload, .. } => Self::from_datagram(&payload),
            Record::Part | Record::Malformed(_) => None,
        }
    }
}

/// Where the record to the call made for `ask` ends in a stream.
pub fn frame_stream(ask: &Ask, received: &[u8]) -> Framing {
    match Record::read(received) {
        Record::Part => Framing::NeedMore,
        Record::Malformed(why) => Framing::Malformed(why),
        Record::Whole { payload, length } => match Reply::from_datagram(&payload) {
            Some(reply) if reply.xid == ask.id => Framing::Done(length),
            Some(_) => Framing::Malformed("reply to another call"),
            None => Framing::Malformed("not an RPC reply"),
        },
    }
}

/// Whether a datagram is the reply to the call made for `ask`.
pub fn frame_datagram(ask: &Ask, received: &[u8]) -> Framing {
    match Reply::from_datagram(received) {
        Some(reply) if reply.xid == ask.id => Framing::Done(received.len()),
        Some(_) => Framing::Malformed("reply to another call"),
        None => Framing::Malformed("not an RPC reply"),
    }
}

/// A record put together from its fragments.
enum Record {
    Part,
    Whole { payload: Vec<u8>, length: usize },
    Malformed(&'static str),
}

impl Record {
    fn read(received: &[u8]) -> Self {
        let mut payload = Vec::new();
        let mut rest = received;
        for _ in 0..MAX_FRAGMENTS {
            let Some((mark, behind)) = rest.split_first_chunk::<RECORD_MARK>() else { return Self::Part };
            let mark = u32::from_be_bytes(*mark);
            let length = (mark & !LAST_FRAGMENT) as usize;
            if payload.len() + length > MAX_RECORD {
                return Self::Malformed("record longer than 64 KiB");
            }
            let Some((fragment, behind)) = behind.split_at_checked(length) else { return Self::Part };
            payload.extend_from_slice(fragment);
            rest = behind;
            if mark & LAST_FRAGMENT != 0 {
                return Self::Whole { payload, length: received.len() - rest.len() };
            }
        }
        Self::Malformed("more than 64 fragments")
    }
}

fn auth_error(error: &AuthError) -> &'static str {
    match error {
        AuthError::Success => "none",
        AuthError::BadCredentials => "bad credentials",
        AuthError::RejectedCredentials => "rejected credentials",
        AuthError::BadVerifier => "bad verifier",
        AuthError::RejectedVerifier => "rejected verifier",
        AuthError::TooWeak => "too weak",
        AuthError::InvalidResponseVerifier => "invalid response",
        AuthError::Failed => "failed",
    }
}

/// Reads XDR (RFC 4506) from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Xdr<'a>(pub &'a [u8]);

impl<'a> Xdr<'a> {
    pub fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }

    /// Variable-length opaque data or string, padded to four bytes.
    pub fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let padded = length.checked_next_multiple_of(4)?;
        let (padded, rest) = self.0.split_at_checked(padded)?;
        self.0 = rest;
        padded.get(..length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exchange::testing::{ask, hex};
    use super::*;

    const XID: u32 = 0x4c41_4e31;
    const CALL: Call = Call { xid: XID, program: 100_000, version: 2, procedure: 4 };

    #[test]
    fn calls_have_the_bytes_of_rfc_5531() {
        let datagram = hex("4c414e31 00000000 00000002 000186a0 00000002 00000004 00000000 00000000 00000000 00000000");
        assert_eq!(CALL.to_datagram(), datagram);
        assert_eq!(CALL.to_record(), [&hex("80000028")[..], &datagram].concat());
    }

    #[test]
    fn outcomes_of_a_real_server() {
        let outcome = |recorded| Reply::from_datagram(&hex(recorded)).unwrap().outcome;
        let program = include_str!("../../../tests/data/codec/rpcbind_program_udp.hex");
        assert_eq!(outcome(program), Outcome::ProgramUnavailable);
        let procedure = include_str!("../../../tests/data/codec/rpcbind_procedure_udp.hex");
        assert_eq!(outcome(procedure), Outcome::ProcedureUnavailable);
        let denied = include_str!("../../../tests/data/codec/rpcbind_badauth_udp.hex");
        assert_eq!(outcome(denied), Outcome::AuthError("rejected credentials"));
        let mismatch = hex(include_str!("../../../tests/data/codec/rpcbind_mismatch_tcp.hex"));
        let reply = Reply::from_stream(&mismatch).unwrap();
        assert_eq!(reply, Reply { xid: XID, outcome: Outcome::ProgramMismatch { low: 2, high: 4 } });
    }

    /// RFC 5531, section 9, by hand: no server at hand answers these.
    #[test]
    fn outcomes_by_the_rfc() {
        let accepted = |status: &str| format!("4c414e31 00000001 00000000 00000000 00000000 {status}");
        let denied = |status: &str| format!("4c414e31 00000001 00000001 {status}");
        for (reply, outcome) in [
            (accepted("00000004"), Outcome::GarbageArguments),
            (accepted("00000005"), Outcome::SystemError),
            (denied("00000000 00000002 00000002"), Outcome::RpcMismatch { low: 2, high: 2 }),
            (denied("00000001 00000005"), Outcome::AuthError("too weak")),
        ] {
            assert_eq!(Reply::from_datagram(&hex(&reply)).map(|reply| reply.outcome), Some(outcome), "{reply}");
        }
        for broken in [accepted("00000006"), denied("00000002"), denied("00000001 00000009"), String::new()] {
            assert_eq!(Reply::from_datagram(&hex(&broken)), None, "{broken}");
        }
    }

    #[test]
    fn a_call_is_no_reply() {
        assert_eq!(Reply::from_datagram(&CALL.to_datagram()), None);
        assert_eq!(frame_datagram(&ask(XID), &CALL.to_datagram()), Framing::Malformed("not an RPC reply"));
    }

    #[test]
    fn fragments_are_put_together() {
        let reply = hex("4c414e31 00000001 00000000 00000000 00000000 00000003");
        let mut stream = Vec::new();
        for byte in &reply[..8] {
            stream.extend_from_slice(&[0, 0, 0, 1, *byte]);
        }
        stream.extend_from_slice(&[0, 0, 0, 0]);
        stream.extend_from_slice(&[0x80, 0, 0, 16]);
        stream.extend_from_slice(&reply[8..]);
        let length = stream.len();
        stream.extend_from_slice(b"behind");
        assert_eq!(frame_stream(&ask(XID), &stream), Framing::Done(length));
        assert_eq!(Reply::from_stream(&stream).unwrap().outcome, Outcome::ProcedureUnavailable);
        for end in 0..length {
            assert_eq!(frame_stream(&ask(XID), &stream[..end]), Framing::NeedMore, "{end}");
        }
    }

    #[test]
    fn hostile_marks_are_refused_before_anything_is_kept() {
        assert_eq!(frame_stream(&ask(XID), &[0xff; 8]), Framing::Malformed("record longer than 64 KiB"));
        assert_eq!(frame_stream(&ask(XID), &[0; 4 * MAX_FRAGMENTS]), Framing::Malformed("more than 64 fragments"));
        assert_eq!(
            frame_stream(&ask(XID), b"HTTP/1.1 400 Bad Request\r\n"),
            Framing::Malformed("record longer than 64 KiB")
        );
    }

    #[test]
    fn replies_to_other_calls_are_refused() {
        let mismatch = hex(include_str!("../../../tests/data/codec/rpcbind_mismatch_tcp.hex"));
        assert_eq!(frame_stream(&ask(XID + 1), &mismatch), Framing::Malformed("reply to another call"));
        assert_eq!(frame_datagram(&ask(XID + 1), &mismatch[4..]), Framing::Malformed("reply to another call"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..256), xid: u32) {
            let _ = (frame_datagram(&ask(xid), &bytes), frame_stream(&ask(xid), &bytes), Reply::from_stream(&bytes));
        }

        /// Random bytes behind a valid start reach the envelope parser's depths.
        #[test]
        fn any_reply_bodies_are_taken(bytes in proptest::collection::vec(0_u32..8, 0..40)) {
            let mut datagram = XID.to_be_bytes().to_vec();
            datagram.extend(bytes.iter().flat_map(|word| word.to_be_bytes()));
            let _ = Reply::from_datagram(&datagram);
        }

        #[test]
        fn opaque_data_stays_inside(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut xdr = Xdr(&bytes);
            while let Some(data) = xdr.opaque() {
                prop_assert!(data.len() <= bytes.len());
            }
        }
    }
}
