package cli

import (
	"errors"
	"fmt"
	"strings"
)

// errHelp is a request for help.
var errHelp = errors.New("help")

// A keyval is one key=value of an option list.
type keyval struct {
	key, value string
}

// joinOptionLists checks the arguments of all -o and joins them. An argument with
// an empty item at either end is an error: together with the next argument it
// would become an escaped comma (util/qemu-option.c, is_valid_option_list;
// iotest 082).
func joinOptionLists(lists []string) (string, error) {
	for _, list := range lists {
		if !validOptionList(list) {
			return "", fmt.Errorf("option list %q has an empty item or ends with a comma; use key=value,… and ,, for a comma in a value", list)
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
// of them asks for help. A key without a value means on, or off if it begins
// with "no", as in qemu-img (util/qemu-option.c, get_opt_name_value).
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

// cutValue cuts list at the first single comma. Two commas in the value are read
// as one.
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
