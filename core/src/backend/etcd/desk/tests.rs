//! Operations against answers as etcd writes them.
