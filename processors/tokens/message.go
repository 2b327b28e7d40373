package tokens

import (
	"encoding/json"
	"strconv"
	"strings"

	"beat/providers"
	"beat/streams/listen"
	"beat/streams/social"
)

// An account is what identity tells of one.
type account struct {
	UserID   loose `json:"socialUserId"`
	Token    loose `json:"graphAccessToken"`
	Handle   loose `json:"handle"`
	Platform loose `json:"platform"`
	Expired  bool  `json:"accessTokenExpired"`
}

func (a account) handle() string { return strings.ToLower(strings.TrimSpace(string(a.Handle))) }

// spelled are the members of a message in the spelling that is read.
var spelled = map[string]string{
	"social_user_id": "socialUserId", "graph_access_token": "graphAccessToken", "access_token_expired": "accessTokenExpired",
	"social_accounts": "socialAccounts", "socialaccount": "socialAccounts", "socialAccount": "socialAccounts", "social_account": "socialAccounts",
	"credential_id": "id",
}

// members are those of an object, in one spelling.
func members(body json.RawMessage) (map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := listen.Decode(body, &raw); err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(raw))
	for k, v := range raw {
		if s, ok := spelled[k]; ok {
			k = s
		}
		out[k] = v
	}
	return out, nil
}

// readAccounts reads the message of a new token: an account, or some in a
// wrapper.
func readAccounts(body []byte) ([]account, error) {
	m, err := members(body)
	if err != nil {
		return nil, err
	}
	inner, wrapped := m["socialAccounts"]
	if !wrapped {
		a, err := readAccount(m)
		return []account{a}, err
	}
	var list []json.RawMessage
	if len(inner) > 0 && inner[0] == '{' {
		list = []json.RawMessage{inner}
	} else if json.Unmarshal(inner, &list) != nil {
		return nil, listen.Malformed("socialAccounts is neither a list nor an object")
	}
	if len(list) == 0 {
		return nil, listen.Ignore("it has no account")
	}
	var out []account
	for i, e := range list {
		m, err := members(e)
		if err != nil {
			return nil, listen.Malformed("socialAccounts[%d] is no object", i)
		}
		a, err := readAccount(m)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func readAccount(m map[string]json.RawMessage) (a account, err error) {
	for name, to := range map[string]*loose{"socialUserId": &a.UserID, "graphAccessToken": &a.Token, "handle": &a.Handle, "platform": &a.Platform} {
		if err := to.read(name, m[name]); err != nil {
			return a, err
		}
	}
	if v := m["accessTokenExpired"]; len(v) > 0 && string(v) != "null" {
		if json.Unmarshal(v, &a.Expired) != nil {
			return a, listen.Malformed("accessTokenExpired is neither true nor false")
		}
	}
	switch {
	case a.Platform == "":
		return a, listen.Malformed("platform is missing")
	case !strings.EqualFold(string(a.Platform), string(social.Instagram)):
	case a.handle() == "":
		return a, listen.Malformed("handle is missing")
	case a.Token != "" && a.UserID == "" && !a.Expired:
		return a, listen.Malformed("socialUserId is missing")
	}
	return a, nil
}

// An ask is what is to be validated: a number, a source and handle, or these with
// fields.
type ask struct {
	id             int64
	source, handle string
	fields         map[string]providers.Secret
}

func readAsk(body []byte) (a ask, err error) {
	m, err := members(body)
	if err != nil {
		return a, err
	}
	var id, src, handle loose
	for name, to := range map[string]*loose{"id": &id, "source": &src, "handle": &handle} {
		if err := to.read(name, m[name]); err != nil {
			return a, err
		}
	}
	if id != "" {
		if a.id, err = strconv.ParseInt(string(id), 10, 32); err != nil || a.id <= 0 {
			return a, listen.Malformed("id is no number of a credential")
		}
		return a, nil
	}
	if a.source, a.handle = string(src), strings.TrimSpace(string(handle)); a.source == "" {
		return a, listen.Malformed("id and source are missing")
	}
	if a.source == source {
		a.handle = strings.ToLower(a.handle)
	}
	raw, ok := m["credentials"]
	if !ok || string(raw) == "null" {
		return a, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || len(fields) == 0 {
		return a, listen.Malformed("credentials is no object with fields")
	}
	a.fields = map[string]providers.Secret{}
	for name, v := range fields {
		var t loose
		if err := t.read("credentials", v); err != nil {
			return a, listen.Malformed("credentials holds something that is no text")
		}
		a.fields[name] = providers.Secret(t)
	}
	return a, nil
}

// loose is text that may come as a number; "" is absent.
type loose string

func (l *loose) read(name string, v json.RawMessage) error {
	s, err := listen.Text(name, v)
	if len(v) == 0 || string(v) == "null" || string(v) == `""` {
		return nil
	}
	*l = loose(s)
	return err
}
