package config

// Choices are the words that the value of a key can be, or that a list of them is
// made of; nil for a key that can be anything.
func Choices(key string) []string {
	switch key {
	case "gmail":
		return gmailModes
	case "layout":
		return layouts
	case "policy":
		return policies
	case "refused":
		return refusals
	case "fix":
		return fixNames()
	case "to_server", "to_maildir":
		words := []string{"all", "none"}
		for _, w := range operationWords {
			words = append(words, w.word)
		}
		return words
	}
	return nil
}
