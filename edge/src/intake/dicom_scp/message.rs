//! Fragments into messages (PS3.7 section 6.3.1, PS3.8 Annex E): a command set, then perhaps a data set, in one
//! presentation context. Command sets are gathered; data sets are passed on as they come.

use dicom_ul::pdu::{PDataValue, PDataValueType};

/// A command set has a few hundred bytes.
const COMMAND_BYTES: usize = 16 << 10;

/// Why the fragments are no messages: the association ends.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// A presentation context that was not accepted.
    #[error("a fragment came in presentation context {0}, which was not accepted")]
    Context(u8),
    /// A fragment that does not continue what began.
    #[error("a fragment came out of order")]
    Order,
    /// A command set without end.
    #[error("a command set has more than {COMMAND_BYTES} bytes")]
    LongCommand,
    /// A data set that goes on long after it was too large.
    #[error("a data set has more than {0} bytes, twice the limit")]
    EndlessDataSet(u64),
}

/// What the fragments so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole command set.
    Command { context: u8, bytes: Vec<u8> },
    /// Some of the data set of the last command.
    DataSet { fragment: Vec<u8>, last: bool },
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    Command {
        context: u8,
        bytes: Vec<u8>,
    },
    DataSet {
        context: u8,
        bytes: u64,
    },
}

/// Puts messages together.
#[derive(Debug)]
pub(super) struct Assembly {
    contexts: Vec<u8>,
    longest_data_set: u64,
    state: State,
}

impl Assembly {
    /// Of fragments in the accepted `contexts`. What follows a data set of `object_bytes` is borne as long again, so that
    /// its sender can be told.
    pub(super) fn new(contexts: Vec<u8>, object_bytes: u64) -> Self {
        Self {
            contexts,
            longest_data_set: 2 * object_bytes,
            state: State::Between,
        }
    }

    /// No message is incomplete.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// A data set follows the command that came last.
    pub(super) fn expect_data_set(&mut self, context: u8) {
        self.state = State::DataSet { context, bytes: 0 };
    }

    /// Takes the next fragment.
    pub(super) fn take(&mut self, value: PDataValue) -> Result<Option<Event>, MessageError> {
        let context = value.presentation_context_id;
        if !self.contexts.contains(&context) {
            return Err(MessageError::Context(context));
        }
        match (std::mem::take(&mut self.state), &value.value_type) {
            (State::Between, PDataValueType::Command) => self.command(context, value.data, value.is_last),
            (
                State::Command {
                    context: begun,
                    mut bytes,
                },
                PDataValueType::Command,
            ) if begun == context => {
                bytes.extend(value.data);
                self.command(context, bytes, value.is_last)
            }
            (State::DataSet { context: begun, bytes }, PDataValueType::Data) if begun == context => {
                self.data_set(context, bytes, value)
            }
            _ => Err(MessageError::Order),
        }
    }

    fn command(&mut self, context: u8, bytes: Vec<u8>, last: bool) -> Result<Option<Event>, MessageError> {
        if bytes.len() > COMMAND_BYTES {
            return Err(MessageError::LongCommand);
        }
        if last {
            return Ok(Some(Event::Command { context, bytes }));
        }
        self.state = State::Command { context, bytes };
        Ok(None)
    }

    fn data_set(&mut self, context: u8, before: u64, value: PDataValue) -> Result<Option<Event>, MessageError> {
        let bytes = before + value.data.len() as u64;
        if bytes > self.longest_data_set {
            return Err(MessageError::EndlessDataSet(self.longest_data_set));
        }
        if !value.is_last {
            self.state = State::DataSet { context, bytes };
        }
        Ok(Some(Event::DataSet {
            fragment: value.data,
            last: value.is_last,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly() -> Assembly {
        Assembly::new(vec![1, 3], 10)
    }

    fn value(context: u8, value_type: PDataValueType, last: bool, bytes: usize) -> PDataValue {
        PDataValue {
            presentation_context_id: context,
            value_type,
            is_last: last,
            data: vec![7; bytes],
        }
    }

    use PDataValueType::{Command, Data};

    #[test]
    fn a_message_is_a_command_and_then_a_data_set() {
        let mut assembly = assembly();
        assert_eq!(assembly.take(value(3, Command, false, 4)), Ok(None));
        assert!(!assembly.is_between());
        let command = Event::Command {
            context: 3,
            bytes: vec![7; 6],
        };
        assert_eq!(assembly.take(value(3, Command, true, 2)), Ok(Some(command)));
        assert!(assembly.is_between());
        assembly.expect_data_set(3);
        for last in [false, true] {
            let fragment = vec![7; 9];
            assert_eq!(
                assembly.take(value(3, Data, last, 9)),
                Ok(Some(Event::DataSet { fragment, last }))
            );
        }
        assert!(assembly.is_between());
    }

    #[test]
    fn what_does_not_continue_is_an_error() {
        assert_eq!(assembly().take(value(1, Data, true, 1)), Err(MessageError::Order));
        assert_eq!(
            assembly().take(value(5, Command, true, 1)),
            Err(MessageError::Context(5))
        );
        let mut other_context = assembly();
        other_context.take(value(1, Command, false, 1)).unwrap();
        assert_eq!(other_context.take(value(3, Command, true, 1)), Err(MessageError::Order));
        let mut command_within = assembly();
        command_within.expect_data_set(1);
        assert_eq!(
            command_within.take(value(1, Command, true, 1)),
            Err(MessageError::Order)
        );
    }

    #[test]
    fn nothing_goes_on_for_ever() {
        let mut commands = assembly();
        commands.take(value(1, Command, false, COMMAND_BYTES)).unwrap();
        assert_eq!(
            commands.take(value(1, Command, false, 1)),
            Err(MessageError::LongCommand)
        );
        let mut data = assembly();
        data.expect_data_set(1);
        data.take(value(1, Data, false, 20)).unwrap();
        assert_eq!(
            data.take(value(1, Data, false, 1)),
            Err(MessageError::EndlessDataSet(20))
        );
    }
}
