package cli

import (
	"errors"
	"fmt"
	"strings"
)

// errHelp stands for a request for help, which is no error.
var errHelp = errors.New("help")

// A keyval is one key=value of an option list.
type keyval struct {
	key, value string
}

// joinOptionLists checks the arguments of all -o and makes one list of them.
// An argument with an empty item at either end is refused, or together with the
// next one it would make an escaped comma (util/qemu-option.c,
// is_valid_option_list; iotest 082).
func joinOptionLists(lists []string) (string, error) {
	for _, list := range lists {
		if !validOptionList(list) {
			return "", fmt.Errorf("option list %q has an empty item or ends with a comma; allowed is key=value,…, with ,, for a comma in a value", list)
		}
	}
	return strings.Join(lists, ","), nil
}

func validOptionList(list string) bool {
	for {
		item, rest, more := cutValue(list)
		if item == "" || item[0] == ',' {
			return false
		}
		if !more {
			return true
		}
		list = rest
	}
}

// parseOptionList splits a list of key=value items; the error is errHelp if one
// of them asks for help. A key on its own means on, and off if it begins with
// "no", as qemu-img still has it (util/qemu-option.c, get_opt_name_value).
func parseOptionList(list string) ([]keyval, error) {
	var items []keyval
	for list != "" {
		var item keyval
		end := strings.IndexAny(list, "=,")
		if end >= 0 && list[end] == '=' {
			item.key = list[:end]
			item.value, list, _ = cutValue(list[end+1:])
		} else {
			item.key, list, _ = strings.Cut(list, ",")
			if item.key == "help" || item.key == "?" {
				return nil, errHelp
			}
			item.value = "on"
			if key, ok := strings.CutPrefix(item.key, "no"); ok {
				item = keyval{key, "off"}
			}
		}
		items = append(items, item)
	}
	return items, nil
}

// cutValue cuts a value off the front of list: up to the first single comma,
// with two commas read as one.
func cutValue(list string) (value, rest string, more bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(list, ",")
		b.WriteString(before)
		if !found || !strings.HasPrefix(after, ",") {
			return b.String(), after, found
		}
		b.WriteByte(',')
		list = after[1:]
	}
}

// escapeValue is the reverse of cutValue.
func escapeValue(value string) string {
	return strings.ReplaceAll(value, ",", ",,")
}
