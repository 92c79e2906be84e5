package config

import (
	"strings"
	"unicode/utf8"
)

// Nearest is the candidate that word was probably meant to be, "" when none
// resembles it: at most a third of the letters differ, with letters swapped,
// case and "-" for "_" counted as little; or else word is how it begins.
func Nearest(word string, candidates []string) string {
	fold := func(s string) []rune { return []rune(strings.ReplaceAll(strings.ToLower(s), "_", "-")) }
	if len(word) > 200 {
		return ""
	}
	w := fold(word)
	best, bestDistance := "", 1<<30
	for _, c := range candidates {
		if utf8.RuneCountInString(c) > 200 {
			continue
		}
		f := fold(c)
		d := distance(w, f)
		if allowed := max(1, (max(len(w), len(f))+1)/3); d <= allowed && d < bestDistance && d < len(f) {
			best, bestDistance = c, d
		}
	}
	for _, c := range candidates {
		if best == "" && len(w) >= 3 && strings.HasPrefix(string(fold(c)), string(w)) {
			best = c
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b []rune) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	var beforeThat []int
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		beforeThat, before = before, row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], beforeThat[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
