//! Sentences as numbers of words, one after the other.

/// Sentences of any length: numbers of words in one list, and where each sentence ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sentences {
    tokens: Vec<u32>,
    ends: Vec<usize>,
}

impl Sentences {
    /// No sentence.
    pub const fn new() -> Self {
        Self { tokens: Vec::new(), ends: Vec::new() }
    }

    /// Adds a sentence.
    pub fn push(&mut self, sentence: impl IntoIterator<Item = u32>) {
        self.tokens.extend(sentence);
        self.ends.push(self.tokens.len());
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The i-th one, from 0.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, i: usize) -> &[u32] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start..self.ends[i]]
    }

    /// In order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> + Clone {
        (0..self.len()).map(|i| self.get(i))
    }

    /// These, in this order.
    pub fn select(&self, indices: &[usize]) -> Self {
        indices.iter().map(|i| self.get(*i).iter().copied()).collect()
    }

    /// Words of the longest one.
    pub fn longest(&self) -> usize {
        self.iter().map(<[u32]>::len).max().unwrap_or(0)
    }

    /// All words of all sentences.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

impl<S: IntoIterator<Item = u32>> FromIterator<S> for Sentences {
    fn from_iter<I: IntoIterator<Item = S>>(sentences: I) -> Self {
        let mut all = Self::new();
        sentences.into_iter().for_each(|sentence| all.push(sentence));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_come_back_as_they_were_put_in() {
        let all: Sentences = [vec![3, 1], vec![], vec![2, 2, 2]].into_iter().collect();
        assert_eq!((all.len(), all.longest(), all.tokens().len()), (3, 3, 5));
        assert_eq!(all.iter().map(<[u32]>::to_vec).collect::<Vec<_>>(), [vec![3, 1], vec![], vec![2, 2, 2]]);
        assert_eq!(all.select(&[2, 0]), [vec![2, 2, 2], vec![3, 1]].into_iter().collect());
        assert!(Sentences::new().is_empty() && Sentences::new().longest() == 0);
    }
}
