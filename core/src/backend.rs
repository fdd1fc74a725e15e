//! One client machine a protocol.
