package credential

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"beat/providers"
)

// KeySetting is the environment variable that holds the key.
const KeySetting = "BEAT_CREDENTIAL_KEY"

// A sealed row holds {"beat_sealed": base64 of nonce and ciphertext} in place
// of its fields. The plaintext is the JSON object of the fields; the additional
// data is the source, so that what was sealed for one cannot be moved to another.
const sealedField = "beat_sealed"

const keyBytes = 32 // AES-256

// ParseKey reads a key as it is in the environment: 32 bytes in base64. "" is
// no key. The error does not repeat the text.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64: want %d bytes, such as `openssl rand -base64 %d` prints", KeySetting, keyBytes, keyBytes)
	}
	if len(key) != keyBytes {
		return nil, fmt.Errorf("%s has %d bytes: want %d, such as `openssl rand -base64 %d` prints", KeySetting, len(key), keyBytes, keyBytes)
	}
	return key, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	if len(key) != keyBytes {
		return nil, fmt.Errorf("%s has %d bytes, want %d", KeySetting, len(key), keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal is the credentials column with fields sealed by key, for source.
func seal(key []byte, source string, fields map[string]providers.Secret) ([]byte, error) {
	c, err := gcm(key)
	if err != nil {
		return nil, err
	}
	plain, err := plainJSON(fields)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{
		sealedField: base64.StdEncoding.EncodeToString(c.Seal(nil, nil, plain, []byte(source))),
	})
}

func open(key []byte, source, text string) ([]byte, error) {
	if len(key) == 0 {
		return nil, fmt.Errorf("its fields are sealed: set %s (%d bytes, base64)", KeySetting, keyBytes)
	}
	c, err := gcm(key)
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("field %q is not base64", sealedField)
	}
	plain, err := c.Open(nil, nil, sealed, []byte(source))
	if err != nil {
		return nil, fmt.Errorf("its fields were sealed with another key than that in %s, or for another source", KeySetting)
	}
	return plain, nil
}

// plainJSON is fields with their values.
func plainJSON(fields map[string]providers.Secret) ([]byte, error) {
	texts := make(map[string]string, len(fields))
	for k, v := range fields {
		texts[k] = v.Reveal()
	}
	return json.Marshal(texts)
}

var errShape = errors.New("column credentials is not an object with fields")

// ParseFields reads the fields of a credential: a JSON object of texts. Numbers
// are taken as they are spelled, null as absent. The error names the field,
// never a value.
func ParseFields(data []byte) (map[string]providers.Secret, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // ids have more digits than a float64
	var fields map[string]any
	if d.Decode(&fields) != nil || len(fields) == 0 {
		return nil, errShape
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errShape
	}
	out := make(map[string]providers.Secret, len(fields))
	for k, v := range fields {
		switch v := v.(type) {
		case string, json.Number, bool:
			out[k] = providers.Secret(fmt.Sprint(v))
		case nil:
		default:
			return nil, fmt.Errorf("field %q is not text", k)
		}
	}
	return out, nil
}

// decode reads the credentials column, sealed or plain.
func (r *row) decode(data, key []byte) error {
	fields, err := ParseFields(data)
	if sealed, ok := fields[sealedField]; ok {
		r.sealed = true
		if len(fields) > 1 {
			err = fmt.Errorf("there are fields beside %q", sealedField)
		} else if data, err = open(key, r.Source, sealed.Reveal()); err == nil {
			fields, err = ParseFields(data)
		}
	}
	if err != nil {
		return fmt.Errorf("credential %d of %s: %w", r.ID, r.Source, err)
	}
	r.Fields = fields
	return nil
}
