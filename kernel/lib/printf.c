// SPDX-License-Identifier: BSD-2-Clause
// Formatted text. No state; any core.
#include "kernel/lib/printf.h"
#include <stdbool.h>
#include <stdint.h>

struct out { char *to; size_t size, used; };

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->size)
        o->to[o->used++] = c;
}

static void put_number(struct out *o, uint64_t value, unsigned base)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        put(o, digits[--count]);
}

size_t format_text(char *to, size_t size, const char *f, va_list args)
{
    struct out o = { to, size, 0 };
    for (; *f; f++) {
        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        bool wide = *++f == 'l';
        f += wide;
        switch (*f) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(&o, *s);
            break;
        case 'u':
        case 'x':
            put_number(&o, wide ? va_arg(args, unsigned long) : va_arg(args, unsigned),
                       *f == 'u' ? 10 : 16);
            break;
        default: // another: what its argument would be is not known, nor what stands behind it
            for (put(&o, '%'); *f; f++)
                put(&o, *f);
            f--;
        }
    }
    if (size)
        to[o.used] = 0;
    return o.used;
}
