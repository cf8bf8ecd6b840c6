// SPDX-License-Identifier: BSD-2-Clause
// Formatted text. No state; any core.
#include "kernel/lib/printf.h"
#include <stdbool.h>
#include <stdint.h>

struct out { char *to; size_t size, used; };

struct spec {
    bool left, zero;
    int width, precision; // precision -1: none
    int length;           // 0 int, 1 long, 2 long long, and size_t as 1
    char conversion;
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->size)
        o->to[o->used++] = c;
}

static void pad(struct out *o, char c, int count)
{
    while (count-- > 0)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *s, const char *text)
{
    int length = 0;
    if (!text)
        text = "(null)";
    while (text[length] && (s->precision < 0 || length < s->precision))
        length++;
    if (!s->left)
        pad(o, ' ', s->width - length);
    for (int i = 0; i < length; i++)
        put(o, text[i]);
    if (s->left)
        pad(o, ' ', s->width - length);
}

static void put_number(struct out *o, const struct spec *s, uint64_t value, bool negative)
{
    char digits[24];
    int count = 0;
    unsigned base = s->conversion == 'u' || s->conversion == 'd' ? 10 : 16;
    const char *set = s->conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    do
        digits[count++] = set[value % base];
    while (value /= base);
    int length = count + negative;
    if (!s->left && !s->zero)
        pad(o, ' ', s->width - length);
    if (negative)
        put(o, '-');
    if (!s->left && s->zero)
        pad(o, '0', s->width - length);
    while (count)
        put(o, digits[--count]);
    if (s->left)
        pad(o, ' ', s->width - length);
}

// Reads what stands behind a '%'; returns the rest of the format.
static const char *parse(const char *f, struct spec *s)
{
    *s = (struct spec){ .precision = -1 };
    for (;; f++) {
        if (*f == '-')
            s->left = true;
        else if (*f == '0')
            s->zero = true;
        else
            break;
    }
    for (; *f >= '0' && *f <= '9'; f++)
        s->width = s->width * 10 + (*f - '0');
    if (*f == '.')
        for (f++, s->precision = 0; *f >= '0' && *f <= '9'; f++)
            s->precision = s->precision * 10 + (*f - '0');
    for (; *f == 'l' || *f == 'z'; f++)
        s->length++;
    s->conversion = *f == 'i' ? 'd' : *f;
    return *f ? f + 1 : f;
}

static void put_signed(struct out *o, const struct spec *s, int64_t v)
{
    put_number(o, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

size_t format_text(char *to, size_t size, const char *f, va_list args)
{
    struct out o = { to, size, 0 };
    struct spec s;
    while (*f) {
        if (*f != '%') {
            put(&o, *f++);
            continue;
        }
        f = parse(f + 1, &s);
        switch (s.conversion) {
        case 's':
            put_text(&o, &s, va_arg(args, const char *));
            break;
        case 'c':
            put(&o, (char)va_arg(args, int));
            break;
        case 'd':
            put_signed(&o, &s, s.length ? va_arg(args, long) : va_arg(args, int));
            break;
        case 'u':
        case 'x':
        case 'X':
            put_number(&o, &s, s.length ? va_arg(args, unsigned long) : va_arg(args, unsigned),
                       false);
            break;
        case 'p':
            put(&o, '0');
            put(&o, 'x');
            put_number(&o, &s, (uintptr_t)va_arg(args, void *), false);
            break;
        default:
            put(&o, s.conversion ? s.conversion : '%');
            break;
        }
    }
    if (size)
        to[o.used] = 0;
    return o.used;
}
