//! Answers of the remote script, told apart from everything else that a log-in prints. Pure.
//!
//! A frame is `\nMARK < NAME\n`, anything, `\nMARK > STATUS\n`. MARK is random and of this session: neither a greeting of
//! the machine nor the output of a command holds it by chance.

use memchr::memmem;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub name: String,
    pub body: Vec<u8>,
    /// Exit code of the command inside; what is no number is [`Frame::STRANGE`].
    pub status: i32,
}

impl Frame {
    pub const STRANGE: i32 = -1;

    pub const fn is_success(&self) -> bool {
        self.status == 0
    }

    /// The body as text, whatever its encoding.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Takes bytes as they come and gives frames.
#[derive(Debug)]
pub struct FrameReader {
    begin: Vec<u8>,
    end: Vec<u8>,
    buffer: Vec<u8>,
    /// How much of the buffer was searched already.
    searched: usize,
    state: State,
    taken: usize,
    limit: usize,
}

#[derive(Debug)]
enum State {
    Outside,
    Inside { name: String },
}

/// More came than a host may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl FrameReader {
    /// `limit`: bytes in all, those between frames included.
    pub fn new(mark: &str, limit: usize) -> Self {
        // A line of its own: the stream may begin with a frame, so a newline is thought in front of it.
        Self {
            begin: format!("\n{mark} < ").into_bytes(),
            end: format!("\n{mark} > ").into_bytes(),
            buffer: vec![b'\n'],
            searched: 0,
            state: State::Outside,
            taken: 0,
            limit,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooMuch> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > self.limit {
            return Err(TooMuch);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next complete frame.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            let mark = match self.state {
                State::Outside => &self.begin,
                State::Inside { .. } => &self.end,
            };
            let Some(at) = memmem::find(&self.buffer[self.searched..], mark).map(|at| at + self.searched) else {
                self.searched = self.buffer.len().saturating_sub(mark.len());
                return None;
            };
            let word_at = at + mark.len();
            // The line must have come whole.
            let Some(length) = memchr::memchr(b'\n', &self.buffer[word_at..]) else {
                self.searched = at;
                return None;
            };
            let word = String::from_utf8_lossy(&self.buffer[word_at..word_at + length]).trim().to_owned();
            let rest = self.buffer.split_off(word_at + length);
            let before = std::mem::replace(&mut self.buffer, rest);
            self.searched = 0;
            match std::mem::replace(&mut self.state, State::Outside) {
                State::Outside => self.state = State::Inside { name: word },
                State::Inside { name } => {
                    // The newline that ends the opening line is still in front.
                    let body = before[..at].get(1..).unwrap_or_default().to_vec();
                    return Some(Frame { name, body, status: word.parse().unwrap_or(Frame::STRANGE) });
                }
            }
        }
    }

    /// What came outside of frames and was not thrown away yet: all of it, while no frame has come.
    pub fn outside(&self) -> &[u8] {
        match self.state {
            State::Outside => self.buffer.get(1..).unwrap_or_default(),
            State::Inside { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: &str = "0123456789abcdef";

    fn framed(name: &str, body: &str, status: &str) -> String {
        format!("\n{MARK} < {name}\n{body}\n{MARK} > {status}\n")
    }

    fn read(text: &[u8], step: usize) -> Vec<Frame> {
        let mut reader = FrameReader::new(MARK, 1 << 20);
        let mut frames = Vec::new();
        for chunk in text.chunks(step) {
            reader.push(chunk).unwrap();
            while let Some(frame) = reader.frame() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn frames_in_noise_at_every_split() {
        let text = format!(
            "Welcome to web1!\n{}noise{}{}",
            framed("probe", "uid=0\n", "0"),
            framed("ss", "", "127"),
            framed("odd", "a\nb", "x")
        );
        for step in 1..text.len() {
            let frames = read(text.as_bytes(), step);
            let found: Vec<_> = frames.iter().map(|one| (one.name.as_str(), one.text(), one.status)).collect();
            assert_eq!(
                found,
                [
                    ("probe", "uid=0\n".to_owned(), 0),
                    ("ss", String::new(), 127),
                    ("odd", "a\nb".to_owned(), Frame::STRANGE)
                ],
                "{step}"
            );
        }
    }

    #[test]
    fn a_frame_at_the_very_beginning() {
        assert_eq!(read(framed("a", "b", "0").trim_start().as_bytes(), 7)[0].body, b"b");
    }

    #[test]
    fn what_has_no_end_is_no_frame() {
        let text = framed("report", "x", "0");
        for cut in 0..text.len() - 1 {
            assert_eq!(read(&text.as_bytes()[..cut], 5), [], "{cut}");
        }
    }

    #[test]
    fn a_foreign_mark_is_part_of_the_body() {
        let text = framed("a", "\nffff > 0\n", "3");
        assert_eq!(
            read(text.as_bytes(), 9),
            [Frame { name: "a".to_owned(), body: b"\nffff > 0\n".to_vec(), status: 3 }]
        );
    }

    #[test]
    fn too_much_is_said() {
        let mut reader = FrameReader::new(MARK, 10);
        assert_eq!(reader.push(b"12345"), Ok(()));
        assert_eq!(reader.outside(), b"12345");
        assert_eq!(reader.push(b"678901"), Err(TooMuch));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1..50_usize) {
            let _ = read(&bytes, step);
        }

        #[test]
        fn bodies_come_back_as_they_were(body in "[a-z0-9 \n<>]{0,60}", step in 1..20_usize) {
            let frames = read(framed("x", &body, "0").as_bytes(), step);
            prop_assert_eq!(frames[0].text(), body);
        }
    }
}
