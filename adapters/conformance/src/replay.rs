//! One recorded log of inputs, which gives the same outputs wherever it is replayed.
