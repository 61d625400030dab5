package conf

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ReadPassword reads a password from a file of one line. It waits at most 5 s for a
// pipe.
func ReadPassword(path string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), fetchTimeout)
	defer stop()
	text, err := readFile(ctx, path)
	if err != nil {
		return "", err
	}
	password := strings.TrimSpace(string(text))
	switch {
	case password == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("%s has more than one line", path)
	}
	if err := checkPassword(password); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return password, nil
}

// maxPassword is the length in bytes of the longest password: a longer one
// would leave little of a datagram.
const maxPassword = 512

func parsePassword(s string) (string, error) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		quoted, rest, ok := strings.Cut(s[1:], s[:1])
		if !ok {
			return "", errors.New("the password's quote is not closed")
		}
		if rest != "" && (!isBlank(rest[0]) || cutComment(rest) != "") {
			return "", errors.New("text after the quoted password")
		}
		return quoted, checkPassword(quoted)
	}
	if s = cutComment(s); strings.ContainsAny(s, " \t") {
		return "", errors.New("more than a password after it (quote a password with blanks)")
	}
	return s, checkPassword(s)
}

// checkPassword returns why a password cannot be written on a line, in quotes if
// necessary.
func checkPassword(s string) error {
	if len(s) > maxPassword {
		return fmt.Errorf("password of %d bytes, at most %d", len(s), maxPassword)
	}
	if strings.ContainsAny(s, "\r\n") {
		return errors.New("password of more than one line")
	}
	if strings.Contains(s, `"`) && strings.Contains(s, "'") && quotePassword(s) != s {
		return errors.New("password that would need quotes and holds both kinds of them")
	}
	return nil
}

// quotePassword formats a password for [ParseDestination].
func quotePassword(s string) string {
	switch {
	case s != "" && !strings.ContainsAny(s[:1], "\"':") && strings.TrimSpace(s) == s && !strings.ContainsAny(s, " \t,"):
		return s
	case !strings.Contains(s, `"`):
		return `"` + s + `"`
	}
	return "'" + s + "'"
}
