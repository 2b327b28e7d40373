package scrub

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestURL(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"no query", "https://a.invalid/v1/user", "https://a.invalid/v1/user"},
		{"no secret", "https://a.invalid/u?username=wander&count=12", "https://a.invalid/u?username=wander&count=12"},
		{"access token", "https://a.invalid/u?fields=id,name&access_token=EAABx&limit=1", "https://a.invalid/u?fields=id,name&access_token=***&limit=1"},
		{"key first", "https://a.invalid/u?key=AIza&part=snippet", "https://a.invalid/u?key=***&part=snippet"},
		{"all of the contract", "x?input_token=1&client_secret=2&refresh_token=3&token=4&key=5&access_token=6", "x?input_token=***&client_secret=***&refresh_token=***&token=***&key=***&access_token=***"},
		{"upper case and camel case", "x?Access_Token=1&apiKey=2&X-RapidAPI-Key=3&accessToken=4", "x?Access_Token=***&apiKey=***&X-RapidAPI-Key=***&accessToken=***"},
		{"escaped name", "x?access%5Ftoken=abc", "x?access%5Ftoken=***"},
		{"cursors are not secrets", "x?pageToken=CAUQAA&pagination_token=q&next_token=z&after=QVFI", "x?pageToken=CAUQAA&pagination_token=q&next_token=z&after=QVFI"},
		{"words that contain key", "x?keyword=hiking&keys=a&monkey=b", "x?keyword=hiking&keys=a&monkey=b"},
		{"empty value", "x?token=&a=1", "x?token=&a=1"},
		{"no value", "x?token&a", "x?token&a"},
		{"fragment", "https://a.invalid/cb#access_token=abc&state=1", "https://a.invalid/cb#access_token=***&state=1"},
		{"semicolons", "x?a=1;token=2;b=3", "x?a=1;token=***;b=3"},
		{"a URL within", "x?a=1&next=https%3A%2F%2Fg.invalid%2Fu%3Faccess_token%3DEAAB%26limit%3D2", "x?a=1&next=https%3A%2F%2Fg.invalid%2Fu%3Faccess_token%3D%2A%2A%2A%26limit%3D2"},
		{"user and password", "https://shop:pw@a.invalid/admin?x=1", "https://shop:***@a.invalid/admin?x=1"},
		{"user alone", "https://abc@a.invalid/", "https://***@a.invalid/"},
		{"at sign in a path", "https://a.invalid/@wander", "https://a.invalid/@wander"},
		{"escapes are kept", "x?q=a%20b+c%2Fd&token=t", "x?q=a%20b+c%2Fd&token=***"},
		{"no question mark", "https://a.invalid/u&key=1#x", "https://a.invalid/u&key=***#x"},
		{"broken escape", "x?a=%zz&token=%zz", "x?a=%zz&token=***"},
	} {
		got := URL(c.in)
		if got != c.want {
			t.Errorf("%s: URL(%q) = %q, want %q", c.name, c.in, got, c.want)
		}
		if twice := URL(got); twice != got {
			t.Errorf("%s: twice: got %q, want %q", c.name, twice, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	got := Headers(http.Header{
		"Authorization":   {"Bearer abc"},
		"Cookie":          {"sessionid=1"},
		"X-Rapidapi-Key":  {"k"},
		"X-Rapidapi-Host": {"host.invalid"},
		"X-Access-Token":  {"t"},
		"Client-Secret":   {"s"},
		"Accept":          {"application/json", "text/html"},
		"Referer":         {"https://a.invalid/?access_token=abc&x=1"},
		"X-Note":          {"sent with Bearer abcdefghijkl inside"},
		"X-Api-Token":     {""},
	})
	want := map[string]string{
		"Authorization":   "***",
		"Cookie":          "***",
		"X-Rapidapi-Key":  "***",
		"X-Rapidapi-Host": "host.invalid",
		"X-Access-Token":  "***",
		"Client-Secret":   "***",
		"Accept":          "application/json, text/html",
		"Referer":         "https://a.invalid/?access_token=***&x=1",
		"X-Note":          "sent with Bearer *** inside",
		"X-Api-Token":     "",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, Map(got)); d != "" {
		t.Error("twice:", d)
	}
	if Headers(nil) == nil || Map(nil) == nil {
		t.Error("got nil for no headers, want an empty map")
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://a.invalid/u?access_token=", "secret-value", "&limit=1")
	f.Add("x?next=https%3A%2F%2Fg.invalid%2F%3Ftoken%3D", "secret-value", "%26a=1")
	f.Fuzz(func(t *testing.T, before, _, after string) {
		got := URL(before + after) // no panic
		const secret = "S3CRETVALUE"
		if got = URL(got + "?access_token=" + secret + "&" + after); strings.Contains(got, secret) {
			t.Errorf("URL(%q…) kept the secret: %q", before, got)
		}
	})
}
