//! Words of a text and their numbers.

use super::Sentences;
use std::collections::{BTreeMap, HashMap};

/// The number of every word that is not in the vocabulary.
pub const UNKNOWN: u32 = 0;

/// Words in the order of their numbers; the number 0 stands for all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// The words of a sentence in lower case: runs of letters, digits, apostrophes and hyphens between them; every other sign that is no space is a
/// word of its own.
pub fn words(sentence: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut signs = sentence.chars().peekable();
    while let Some(sign) = signs.next() {
        let joins =
            matches!(sign, '\'' | '’' | '-') && !word.is_empty() && signs.peek().is_some_and(|c| c.is_alphanumeric());
        if sign.is_alphanumeric() || joins {
            word.extend(sign.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !sign.is_whitespace() && !sign.is_control() {
            words.push(sign.to_string());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

impl Vocabulary {
    /// The words that occur at least `least` times in these sentences, the most frequent first, equally frequent ones in alphabetical order.
    pub fn of<'a>(sentences: impl IntoIterator<Item = &'a str>, least: usize) -> Self {
        let mut counts = BTreeMap::<String, usize>::new();
        for word in sentences.into_iter().flat_map(words) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counted: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count >= least).collect();
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let words: Vec<String> =
            std::iter::once("⟨unknown⟩".to_string()).chain(counted.into_iter().map(|(w, _)| w)).collect();
        let numbers = words.iter().enumerate().skip(1).map(|(i, word)| (word.clone(), i as u32)).collect();
        Self { words, numbers }
    }

    /// Number of words, the unknown one among them.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether every word is unknown.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The word of a number.
    pub fn word(&self, number: u32) -> &str {
        &self.words[number as usize]
    }

    /// The numbers of a sentence's words; one unknown word for a sentence without any.
    pub fn encode(&self, sentence: &str) -> Vec<u32> {
        let numbers: Vec<u32> =
            words(sentence).iter().map(|word| self.numbers.get(word).copied().unwrap_or(UNKNOWN)).collect();
        if numbers.is_empty() { vec![UNKNOWN] } else { numbers }
    }

    /// The same for several.
    pub fn encode_all<'a>(&self, sentences: impl IntoIterator<Item = &'a str>) -> Sentences {
        sentences.into_iter().map(|sentence| self.encode(sentence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_signs() {
        assert_eq!(
            words("What's  the word, for 'trees'?"),
            ["what's", "the", "word", ",", "for", "'", "trees", "'", "?"]
        );
        assert_eq!(words("ad-2600 - ÄRGER"), ["ad-2600", "-", "ärger"]);
        assert!(words(" \t\u{0}").is_empty());
    }

    #[test]
    fn rare_words_are_unknown() {
        let vocabulary = Vocabulary::of(["b a b", "c b a"], 2);
        assert_eq!((vocabulary.len(), vocabulary.word(1), vocabulary.word(2)), (3, "b", "a"));
        assert_eq!(vocabulary.encode("a c B d"), [2, UNKNOWN, 1, UNKNOWN]);
        assert_eq!(vocabulary.encode("  "), [UNKNOWN]);
        assert!(Vocabulary::of(["a"], 2).is_empty() && !vocabulary.is_empty());
        assert_eq!(vocabulary.encode_all(["a", "b b"]).get(1), [1, 1]);
    }
}
