// Package access is who may ask what over HTTP: bearer tokens with a scope.
//
// A token is 32 random bytes, and its owner alone has it. What is configured is
// its SHA-256: of so many random bytes a digest needs no salt and no slow hash,
// and whoever reads the configuration can do nothing with it.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Scope is what a token allows. Each includes those before it.
type Scope int

// The scopes.
const (
	Open    Scope = iota // no token is needed
	Read                 // what is stored, metrics, and what tasks wait for
	Refresh              // what begins work: refreshes and tasks
	Admin                // what changes tasks, tokens and the process
)

var scopes = [...]string{"open", "read", "refresh", "admin"}

func (s Scope) String() string { return scopes[s] }

// ParseScope reads read, refresh or admin, or several of them with + between: the
// largest counts.
func ParseScope(text string) (Scope, error) {
	largest := Open
	for word := range strings.SplitSeq(text, "+") {
		found := Open
		for s := Read; s <= Admin; s++ {
			if word == s.String() {
				found = s
			}
		}
		if found == Open {
			return Open, errors.New("want a scope of read, refresh and admin")
		}
		largest = max(largest, found)
	}
	return largest, nil
}

// prefix lets people and scanners for secrets see what a token is for.
const prefix = "beat_"

// A Token is a token as it is configured: without its secret.
type Token struct {
	Name   string // for logs and limits
	Scope  Scope
	digest [sha256.Size]byte
}

// name is short and holds nothing that separates.
var name = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New makes a token. Nothing but the returned secret can ever be used as it.
func New(called string, s Scope) (secret string, t Token, err error) {
	if !name.MatchString(called) {
		return "", t, errors.New("a name has 1 to 64 letters, digits, dots, dashes or underscores")
	}
	random := make([]byte, 32)
	rand.Read(random) //nolint:errcheck // it never fails
	secret = prefix + base64.RawURLEncoding.EncodeToString(random)
	return secret, Token{called, s, sha256.Sum256([]byte(secret))}, nil
}

// String is the token in the form that Parse reads, NAME:SCOPE:SHA256.
func (t Token) String() string {
	return t.Name + ":" + t.Scope.String() + ":" + hex.EncodeToString(t.digest[:])
}

// Tokens are all that count.
type Tokens []Token

// Parse reads tokens in the form NAME:SCOPE[+SCOPE]:SHA256, of which the last is
// 64 hexadecimal digits. They are separated by commas or line ends; a line that
// begins with # says nothing. An error names the token by its place, never by
// what it holds.
func Parse(text string) (Tokens, error) {
	var out Tokens
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			t, err := parse(entry)
			if err == nil && seen[t.Name] {
				err = errors.New("its name is taken")
			}
			if err != nil {
				return nil, fmt.Errorf("token %d: %w", len(out)+1, err)
			}
			seen[t.Name] = true
			out = append(out, t)
		}
	}
	return out, nil
}

func parse(entry string) (t Token, err error) {
	parts := strings.Split(entry, ":")
	if len(parts) != 3 || !name.MatchString(parts[0]) {
		return t, errors.New("want NAME:SCOPE:SHA256, as beat token new prints it")
	}
	t.Name = parts[0]
	if t.Scope, err = ParseScope(parts[1]); err != nil {
		return t, err
	}
	digest, err := hex.DecodeString(parts[2])
	if err != nil || len(digest) != len(t.digest) {
		return t, errors.New("want the SHA-256 of the token as 64 hexadecimal digits, not the token itself")
	}
	copy(t.digest[:], digest)
	return t, nil
}

// Find is the token that secret is. It compares with every one of them, whatever
// it finds, so that how long it takes says nothing.
func (ts Tokens) Find(secret string) (found Token, ok bool) {
	digest := sha256.Sum256([]byte(secret))
	for _, t := range ts {
		if subtle.ConstantTimeCompare(t.digest[:], digest[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}
