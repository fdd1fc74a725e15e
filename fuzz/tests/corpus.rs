//! Every input that was ever worth keeping is replayed: what went wrong once goes right for ever.

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_is_replayed() {
    for (name, target) in periplus_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry of the corpus").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has a corpus");
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).expect("a file of the corpus"));
        }
    }
}
