//! The pickle machine (Python's `pickletools` defines the instructions; protocols 2 to 4).
//!
//! Containers lie in an arena and values refer to them by number, so that a file can neither make a circle that is never freed, nor
//! nest so deeply that freeing it overflows the stack.

use std::{collections::HashMap, rc::Rc};

use super::{Reason, tensors::Number};

/// Values, containers, marks and memories, at most; a checkpoint of a thousand tensors has twenty thousand.
const MAX_VALUES: usize = 4 << 20;

/// The functions and types that a checkpoint of tensors refers to, by module and name.
const KNOWN: [(&str, &str, Function); 6] = [
    ("collections", "OrderedDict", Function::Dict),
    ("torch._utils", "_rebuild_tensor_v2", Function::Tensor),
    ("torch._utils", "_rebuild_tensor", Function::Tensor),
    ("torch._utils", "_rebuild_parameter", Function::Parameter),
    ("torch.nn.parameter", "Parameter", Function::Parameter),
    ("torch", "Size", Function::Size),
];

/// What a call is replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// An empty dictionary.
    Dict,
    /// A description of a tensor.
    Tensor,
    /// The tensor that is the first argument.
    Parameter,
    /// The tuple that is the first argument.
    Size,
}

/// What lies on the stack; everything large in it is a number of the arena.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian.
    Long(Rc<[u8]>),
    Float,
    Text(Rc<str>),
    Bytes,
    Function(Function),
    /// What a type of storage (`FloatStorage`, ...) has for numbers.
    Storage(Number),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// What the file calls a persistent identifier: a storage.
    Persistent(usize),
    /// A call of [`Function::Tensor`] with these arguments.
    Tensor(usize),
}

/// A container's content; a dictionary has keys and values in turns.
type Items = Vec<Value>;

/// A pickle that has been read.
pub(super) struct Pickle {
    pub(super) result: Value,
    arena: Vec<Items>,
    persistent: Vec<usize>,
    /// Bytes that it took.
    pub(super) length: usize,
}

impl Pickle {
    /// The content of a container.
    pub(super) fn items(&self, container: usize) -> &[Value] {
        self.arena.get(container).map_or(&[], Vec::as_slice)
    }

    /// The descriptions of all storages that were referred to.
    pub(super) fn persistent(&self) -> impl Iterator<Item = usize> {
        self.persistent.iter().copied()
    }

    /// Keys that are text, with their values; the last of equal keys counts.
    pub(super) fn entries(&self, container: usize) -> Vec<(Rc<str>, Value)> {
        let pairs = self.items(container).chunks_exact(2);
        let entry = |pair: &[Value]| match pair {
            [Value::Text(key), value] => Some((Rc::clone(key), value.clone())),
            _ => None,
        };
        pairs.filter_map(entry).collect()
    }
}

/// Reads one pickle from the beginning of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle, Reason> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: vec![],
        marks: vec![],
        memo: HashMap::new(),
        arena: vec![],
        persistent: vec![],
        made: 0,
    };
    loop {
        let begin = machine.at;
        let code = machine.byte()?;
        if code == b'.' {
            let result = machine.pop()?;
            let Machine { arena, persistent, at: length, .. } = machine;
            return Ok(Pickle { result, arena, persistent, length });
        }
        machine.step(code).map_err(|reason| format!("{reason} (byte {begin} of the pickle)"))?;
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    arena: Vec<Items>,
    persistent: Vec<usize>,
    made: usize,
}

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], Reason> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or("the pickle ends early")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        self.take(N)?.try_into().map_err(|_| "the pickle ends early".into())
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        Ok(self.array::<1>()?[0])
    }

    fn length(&mut self) -> Result<usize, Reason> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn line(&mut self) -> Result<String, Reason> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or("a line of the pickle does not end")?;
        let line = String::from_utf8(rest[..end].to_vec()).map_err(|_| "a name is no text")?;
        self.at += end + 1;
        Ok(line)
    }

    /// Counts what takes memory, of which a byte of the file can ask for dozens.
    fn count(&mut self) -> Result<(), Reason> {
        self.made += 1;
        if self.made > MAX_VALUES {
            return Err(format!("it makes more than {MAX_VALUES} values"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), Reason> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// Values below the last mark are out of reach until it is taken.
    fn pop(&mut self) -> Result<Value, Reason> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<&Value, Reason> {
        self.stack.last().ok_or_else(|| "the stack is empty".into())
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Items, Reason> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn container(&mut self, items: Items) -> usize {
        self.arena.push(items);
        self.arena.len() - 1
    }

    fn tuple(&mut self, items: Items) -> Result<(), Reason> {
        let tuple = self.container(items);
        self.push(Value::Tuple(tuple))
    }

    fn last(&mut self, count: usize) -> Result<Items, Reason> {
        let mut items: Items = (0..count).map(|_| self.pop()).collect::<Result<_, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn text(&mut self, length: usize) -> Result<Value, Reason> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8")?;
        Ok(Value::Text(text.into()))
    }

    fn step(&mut self, code: u8) -> Result<(), Reason> {
        match code {
            // PROTO, FRAME
            0x80 => match self.byte()? {
                2..=4 => Ok(()),
                other => Err(format!("protocol {other} is not one of 2 to 4")),
            },
            0x95 => self.take(8).map(|_| ()),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::Nothing),
            0x88 | 0x89 => self.push(Value::Bool(code == 0x88)),
            b'J' | b'K' | b'M' | 0x8a => {
                let number = self.number(code)?;
                self.push(number)
            }
            // BINFLOAT; no tensor depends on one.
            b'G' => self.take(8).map(|_| ()).and_then(|()| self.push(Value::Float)),
            b'X' | b'T' | b'U' | 0x8c => {
                let short = matches!(code, b'U' | 0x8c);
                let length = if short { usize::from(self.byte()?) } else { self.length()? };
                let text = self.text(length)?;
                self.push(text)
            }
            // SHORT_BINBYTES, BINBYTES
            b'C' | b'B' => {
                let length = if code == b'C' { usize::from(self.byte()?) } else { self.length()? };
                self.take(length)?;
                self.push(Value::Bytes)
            }
            b'(' => {
                self.count()?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'}' | b']' | b')' | b't' | 0x85..=0x87 => self.collect(code),
            b's' | b'u' | b'a' | b'e' => self.fill(code),
            b'0' => self.pop().map(|_| ()),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code),
            b'c' | 0x93 => self.global(code),
            b'Q' => {
                let Value::Tuple(tuple) = self.pop()? else {
                    return Err("a storage is described by something else than a tuple".into());
                };
                self.persistent.push(tuple);
                self.push(Value::Persistent(tuple))
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            other => Err(format!("it uses instruction 0x{other:02x}, which tensors do not need")),
        }
    }

    /// `BININT`, `BININT1`, `BININT2`, `LONG1`.
    fn number(&mut self, code: u8) -> Result<Value, Reason> {
        Ok(match code {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            _ => {
                let length = usize::from(self.byte()?);
                let digits = self.take(length)?;
                if length > 8 {
                    return Ok(Value::Long(digits.into()));
                }
                // Two's complement of any length.
                let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut all = [if negative { 0xff } else { 0 }; 8];
                all[..length].copy_from_slice(digits);
                Value::Int(i64::from_le_bytes(all))
            }
        })
    }

    /// `EMPTY_DICT`, `EMPTY_LIST`, `EMPTY_TUPLE`, `TUPLE`, `TUPLE1`, `TUPLE2`, `TUPLE3`.
    fn collect(&mut self, code: u8) -> Result<(), Reason> {
        match code {
            b'}' => {
                let dict = self.container(vec![]);
                self.push(Value::Dict(dict))
            }
            b']' => {
                let list = self.container(vec![]);
                self.push(Value::List(list))
            }
            b')' => self.tuple(vec![]),
            b't' => {
                let items = self.marked()?;
                self.tuple(items)
            }
            _ => {
                let items = self.last(usize::from(code - 0x84))?;
                self.tuple(items)
            }
        }
    }

    /// `SETITEM`, `SETITEMS`, `APPEND`, `APPENDS`.
    fn fill(&mut self, code: u8) -> Result<(), Reason> {
        let items = match code {
            b's' => self.last(2)?,
            b'a' => self.last(1)?,
            _ => self.marked()?,
        };
        let pairs = matches!(code, b's' | b'u');
        match (self.top()?, pairs) {
            (Value::Dict(dict), true) if items.len().is_multiple_of(2) => {
                let dict = *dict;
                self.arena[dict].extend(items);
                Ok(())
            }
            (Value::List(list), false) => {
                let list = *list;
                self.arena[list].extend(items);
                Ok(())
            }
            _ => Err("items are put into something that is no container of them".into()),
        }
    }

    /// `BINPUT`, `LONG_BINPUT`, `MEMOIZE`, `BINGET`, `LONG_BINGET`.
    fn remember(&mut self, code: u8) -> Result<(), Reason> {
        let place = match code {
            b'q' | b'h' => u32::from(self.byte()?),
            0x94 => self.memo.len() as u32,
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(code, b'h' | b'j') {
            let value = self.memo.get(&place).cloned();
            return self.push(value.ok_or("it reads a memory that was never written")?);
        }
        self.count()?;
        let value = self.top()?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    /// `GLOBAL`, `STACK_GLOBAL`.
    fn global(&mut self, code: u8) -> Result<(), Reason> {
        // Neither is copied: a file can ask for one long name millions of times.
        let value = if code == b'c' {
            let (module, name) = (self.line()?, self.line()?);
            named(&module, &name)
        } else {
            let pair = self.last(2)?;
            let [Value::Text(module), Value::Text(name)] = pair.as_slice() else {
                return Err("a name is no text".into());
            };
            named(module, name)
        }?;
        self.push(value)
    }

    fn call(&mut self) -> Result<(), Reason> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Function(function), Value::Tuple(arguments)) = (function, arguments) else {
            return Err("it calls something that is no function".into());
        };
        let value = match function {
            Function::Dict => Value::Dict(self.container(vec![])),
            Function::Tensor => Value::Tensor(arguments),
            Function::Parameter | Function::Size => {
                self.arena[arguments].first().cloned().ok_or("a call has no arguments")?
            }
        };
        self.push(value)
    }

    /// Attributes of a dictionary (`_metadata`) say nothing about tensors.
    fn build(&mut self) -> Result<(), Reason> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) | Value::Tensor(_) => Ok(()),
            _ => Err("it sets the attributes of something that has none".into()),
        }
    }
}

/// What a function or type of this name is to a checkpoint of tensors.
fn named(module: &str, name: &str) -> Result<Value, Reason> {
    if let Some((_, _, function)) = KNOWN.iter().find(|known| known.0 == module && known.1 == name) {
        return Ok(Value::Function(*function));
    }
    if module == "torch" && name.ends_with("Storage") {
        return Number::of(name).map(Value::Storage);
    }
    let [module, name] = [module, name].map(shown);
    Err(format!("it asks for `{module}.{name}`, which tensors do not need and which is not run"))
}

/// As much of a name as an error repeats.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}
