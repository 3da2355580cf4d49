//! The part of Python's pickle format that torch.save writes: data is read, nothing is ever called.
//!
//! Objects live in one list and refer to each other by position, as pickle's memo does, so that a shared object is not
//! copied and a damaged file costs no more memory than its own length.

use std::collections::HashMap;

use super::Reason;

/// Position of an object in its [`Pickle`].
pub(super) type Id = usize;

/// What a pickle is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by name.
    Global {
        module: String,
        name: String,
    },
    /// What calling `callable` with `args` would give.
    Called {
        callable: Id,
        args: Id,
    },
    /// A reference to something outside of the pickle: torch's storages.
    Persistent(Id),
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    objects: Vec<Object>,
    root: Id,
}

impl Pickle {
    /// Reads one pickle from the beginning of `bytes`; says how long it was.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), Reason> {
        let mut machine = Machine {
            bytes,
            at: 0,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok((
            Self {
                objects: machine.objects,
                root,
            },
            machine.at,
        ))
    }

    /// The object that was pickled.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The object at a position that this pickle gave.
    pub fn get(&self, id: Id) -> &Object {
        &self.objects[id]
    }

    /// All objects.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The text at this position.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Pickle's stack machine (PEP 3154 and `pickletools`).
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// One opcode; false at the end.
    fn step(&mut self) -> Result<bool, Reason> {
        match self.byte()? {
            0x80 => self.skip(1)?,                                         // PROTO
            0x95 => self.skip(8)?,                                         // FRAME
            b'.' => return Ok(false),                                      // STOP
            b'(' => self.marks.push(self.stack.len()),                     // MARK
            b'N' => self.push(Object::None),                               // NONE
            0x88 => self.push(Object::Bool(true)),                         // NEWTRUE
            0x89 => self.push(Object::Bool(false)),                        // NEWFALSE
            b'K' => self.integer(1)?,                                      // BININT1
            b'M' => self.integer(2)?,                                      // BININT2
            b'J' => self.signed_integer(4)?,                               // BININT
            0x8a => self.long()?,                                          // LONG1
            b'G' => self.float()?,                                         // BINFLOAT
            b'X' | b'T' => self.string(4)?,                                // BINUNICODE, BINSTRING
            0x8c | b'U' => self.string(1)?,                                // SHORT_BINUNICODE, SHORT_BINSTRING
            b')' => self.push(Object::Tuple(Vec::new())),                  // EMPTY_TUPLE
            b']' => self.push(Object::List(Vec::new())),                   // EMPTY_LIST
            b'}' => self.push(Object::Dict(Vec::new())),                   // EMPTY_DICT
            b't' => self.tuple_since_mark()?,                              // TUPLE
            tuple @ 0x85..=0x87 => self.tuple(usize::from(tuple - 0x84))?, // TUPLE1 to TUPLE3
            b'a' => self.append()?,                                        // APPEND
            b'e' => self.append_since_mark()?,                             // APPENDS
            b's' => self.set_item()?,                                      // SETITEM
            b'u' => self.set_items_since_mark()?,                          // SETITEMS
            b'q' => self.remember(1)?,                                     // BINPUT
            b'r' => self.remember(4)?,                                     // LONG_BINPUT
            0x94 => self.memoize()?,                                       // MEMOIZE
            b'h' => self.recall(1)?,                                       // BINGET
            b'j' => self.recall(4)?,                                       // LONG_BINGET
            b'c' => self.global()?,                                        // GLOBAL
            0x93 => self.stack_global()?,                                  // STACK_GLOBAL
            b'R' | 0x81 => self.call()?,                                   // REDUCE, NEWOBJ
            b'b' => self.build()?,                                         // BUILD
            b'Q' => self.persistent()?,                                    // BINPERSID
            other => return Err(Reason::new(format!("pickle opcode {other:#04x} is not supported"))),
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Reason> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Reason::new("the pickle is cut off"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Reason> {
        self.take(count).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of up to 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, Reason> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn push(&mut self, object: Object) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        // A mark bounds what may be popped.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(Reason::new("the pickle takes from an empty stack"));
        }
        self.stack
            .pop()
            .ok_or_else(|| Reason::new("the pickle takes from an empty stack"))
    }

    fn top(&self) -> Result<Id, Reason> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| Reason::new("the pickle looks at an empty stack"))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, Reason> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        let mark = mark.ok_or_else(|| Reason::new("the pickle lacks a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn integer(&mut self, bytes: usize) -> Result<(), Reason> {
        let value = self.number(bytes)? as i64;
        self.push(Object::Int(value));
        Ok(())
    }

    fn signed_integer(&mut self, bytes: usize) -> Result<(), Reason> {
        let unused = 64 - 8 * bytes as u32;
        let value = ((self.number(bytes)? << unused) as i64) >> unused;
        self.push(Object::Int(value));
        Ok(())
    }

    fn long(&mut self) -> Result<(), Reason> {
        match usize::from(self.byte()?) {
            0 => self.push(Object::Int(0)),
            bytes @ 1..=8 => self.signed_integer(bytes)?,
            // No size or offset is so large; the number itself is of no interest.
            bytes => {
                self.skip(bytes)?;
                self.push(Object::Int(i64::MAX));
            }
        }
        Ok(())
    }

    fn float(&mut self) -> Result<(), Reason> {
        // The only big-endian number of the format.
        let bits = self.number(8)?.swap_bytes();
        self.push(Object::Float(f64::from_bits(bits)));
        Ok(())
    }

    fn string(&mut self, length_bytes: usize) -> Result<(), Reason> {
        let length = self.number(length_bytes)? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Object::Text(text));
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), Reason> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Object::Tuple(items));
        Ok(())
    }

    fn tuple_since_mark(&mut self) -> Result<(), Reason> {
        let items = self.since_mark()?;
        self.push(Object::Tuple(items));
        Ok(())
    }

    fn append(&mut self) -> Result<(), Reason> {
        let item = self.pop()?;
        self.extend_list(vec![item])
    }

    fn append_since_mark(&mut self) -> Result<(), Reason> {
        let items = self.since_mark()?;
        self.extend_list(items)
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<(), Reason> {
        let top = self.top()?;
        // Into another object (a set, a subclass of list) nothing goes that would be a tensor's.
        if let Object::List(list) = &mut self.objects[top] {
            list.extend(items);
        }
        Ok(())
    }

    fn set_item(&mut self) -> Result<(), Reason> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.extend_dict(&[key, value])
    }

    fn set_items_since_mark(&mut self) -> Result<(), Reason> {
        let items = self.since_mark()?;
        self.extend_dict(&items)
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), Reason> {
        let top = self.top()?;
        if let Object::Dict(entries) = &mut self.objects[top] {
            entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), Reason> {
        let (key, top) = (self.number(bytes)? as u32, self.top()?);
        self.memo.insert(key, top);
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), Reason> {
        let (key, top) = (self.memo.len() as u32, self.top()?);
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<(), Reason> {
        let key = self.number(bytes)? as u32;
        let id = self
            .memo
            .get(&key)
            .copied()
            .ok_or_else(|| Reason::new("the pickle recalls what it never kept"))?;
        self.stack.push(id);
        Ok(())
    }

    fn line(&mut self) -> Result<String, Reason> {
        let length = self.bytes[self.at..].iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| Reason::new("the pickle is cut off"))?;
        let text = String::from_utf8_lossy(self.take(length)?).trim_end().to_owned();
        self.skip(1)?;
        Ok(text)
    }

    fn global(&mut self) -> Result<(), Reason> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Object::Global { module, name });
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), Reason> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.objects[module], &self.objects[name]) {
            (Object::Text(module), Object::Text(name)) => {
                let (module, name) = (module.clone(), name.clone());
                self.push(Object::Global { module, name });
                Ok(())
            }
            _ => Err(Reason::new("the pickle names a class without a name")),
        }
    }

    fn call(&mut self) -> Result<(), Reason> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let dictionary = matches!(
            &self.objects[callable],
            Object::Global { module, name } if module == "collections" && (name == "OrderedDict" || name == "defaultdict")
        );
        self.push(if dictionary {
            Object::Dict(Vec::new())
        } else {
            Object::Called { callable, args }
        });
        Ok(())
    }

    /// Attributes of an object: only those of a dictionary (`_metadata` of a state_dict) come, and they are no tensors.
    fn build(&mut self) -> Result<(), Reason> {
        self.pop().map(|_| ())
    }

    fn persistent(&mut self) -> Result<(), Reason> {
        let id = self.pop()?;
        self.push(Object::Persistent(id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_text_and_containers() {
        // pickle.dumps({"a": (1, -2, 2.5, True, None), "b": [70000]}, protocol=2), without the memo.
        let bytes = b"\x80\x02}(X\x01\x00\x00\x00a(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00\x88NtX\x01\x00\x00\x00b](Jp\x11\x01\x00eu.";
        let (pickle, length) = Pickle::read(bytes).unwrap();
        assert_eq!(length, bytes.len());
        let Object::Dict(entries) = pickle.get(pickle.root()) else {
            panic!("a dictionary")
        };
        assert_eq!(pickle.text(entries[0].0), Some("a"));
        let Object::Tuple(items) = pickle.get(entries[0].1) else {
            panic!("a tuple")
        };
        let items: Vec<&Object> = items.iter().map(|id| pickle.get(*id)).collect();
        let wanted = [
            Object::Int(1),
            Object::Int(-2),
            Object::Float(2.5),
            Object::Bool(true),
            Object::None,
        ];
        assert!(items.into_iter().eq(wanted.iter()));
        let Object::List(items) = pickle.get(entries[1].1) else {
            panic!("a list")
        };
        assert_eq!(pickle.get(items[0]), &Object::Int(70000));
    }

    #[test]
    fn a_shared_object_is_the_same_one() {
        // d = {}; pickle.dumps((d, d)) with d filled after it was kept.
        let bytes = b"\x80\x02}q\x00X\x01\x00\x00\x00kK\x05sh\x00\x86.";
        let (pickle, _) = Pickle::read(bytes).unwrap();
        let Object::Tuple(items) = pickle.get(pickle.root()) else {
            panic!("a tuple")
        };
        assert_eq!(items[0], items[1]);
        assert!(matches!(pickle.get(items[1]), Object::Dict(entries) if entries.len() == 1));
    }

    #[test]
    fn damaged_pickles_are_refused() {
        let whole = b"\x80\x02}q\x00X\x01\x00\x00\x00kK\x05sh\x00\x86.";
        for length in 0..whole.len() {
            assert!(Pickle::read(&whole[..length]).is_err(), "{length} bytes");
        }
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 1 << bit;
                // It may still be a pickle; it must not panic.
                let _ = Pickle::read(&damaged);
            }
        }
        assert!(
            Pickle::read(b"X\xff\xff\xff\x7fabc.").is_err(),
            "a length beyond the file"
        );
        assert!(Pickle::read(b"(t0.").is_err() && Pickle::read(b"t.").is_err());
    }
}
