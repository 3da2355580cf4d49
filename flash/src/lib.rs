//! The field engineer's tool: flashes model bundles onto Scanside appliances over a serial line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the verbs |
//! | [`session`] | a conversation with a device |
//! | [`mod@line`] | messages out and in, in either framing |
//! | [`transport`] | the line as a transport of mcumgr-toolkit, whose client asks most questions |
//! | [`scanside`] | our own commands for that client |
//! | [`upload`], [`window`], [`parcel`] | sending a bundle at the speed of the line |
//! | [`difference`], [`bases`] | whether to send it whole or as its difference to the one on the device |
//! | [`follow`], [`restart`] | what the device does by itself afterwards |
//! | [`artifact`] | the bundle on this computer |
//! | [`choose`] | which port, if none is named |
//! | [`report`], [`refusal`], [`exit`] | what the engineer sees |

pub mod artifact;
pub mod bases;
pub mod choose;
pub mod cli;
pub mod difference;
pub mod exit;
pub mod follow;
pub mod line;
pub mod parcel;
pub mod refusal;
pub mod report;
pub mod restart;
pub mod scanside;
pub mod session;
pub mod transport;
pub mod upload;
pub mod window;
