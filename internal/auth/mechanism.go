package auth

import (
	"fmt"
	"strings"

	"postbag/internal/mail"
)

// Mechanisms are the ways to log in that can be asked for, in their SASL
// spelling (LOGIN is the command of IMAP).
var Mechanisms = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}

// ParseMechanism is the SASL spelling of a mechanism named in any case; "" (the
// best that the server offers) for "" and "auto".
func ParseMechanism(name string) (string, error) {
	if name == "" || strings.EqualFold(name, "auto") {
		return "", nil
	}
	for _, m := range Mechanisms {
		if strings.EqualFold(m, name) {
			return m, nil
		}
	}
	return "", &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "auth",
		Err:  fmt.Errorf("unknown mechanism %q", name),
		Hint: "one of auto, plain, login, xoauth2, oauthbearer"}
}

// IsToken reports whether the secret of a mechanism is an OAuth token, which
// ends after a while.
func IsToken(mechanism string) bool { return mechanism == "XOAUTH2" || mechanism == "OAUTHBEARER" }
