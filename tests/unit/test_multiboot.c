// SPDX-License-Identifier: BSD-2-Clause
// What the boot core reads of the loader's tags, sane and hostile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/multiboot.h"
#include "tests/unit/low_memory.h"

#define INFO 0x8000u
#define MAGIC 0x36d76289u

static int setup(void **state)
{
    (void)state;
    low_start();
    return 0;
}

// Tags of Multiboot2.
static uint32_t info_bytes;

static void *tag(uint32_t type, uint32_t bytes)
{
    uint32_t at = INFO + info_bytes;
    put32(at, type);
    put32(at + 4, bytes);
    info_bytes += (bytes + 7) & ~7u;
    put32(INFO, info_bytes);
    return low + at + 8;
}

static void info_start(void)
{
    info_bytes = 8;
    put32(INFO, 8);
}

static void ranges(const uint64_t (*r)[3], uint32_t n)
{
    uint8_t *p = tag(6, 16 + 24 * n);
    const uint32_t head[2] = { 24, 0 };
    memcpy(p, head, 8);
    for (uint32_t i = 0; i < n; i++)
        memcpy(p + 8 + 24 * i, r[i], 24);
}

static const char *boot(struct boot_facts *facts)
{
    const struct ram_range image = { 0x100000, 0x180000 };
    memset(facts, 0, sizeof(*facts));
    return multiboot_parse(MAGIC, INFO, image, facts);
}

static void test_loader(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = {
        { 0, 0x9fc00, 1 }, { 0x100000, 0x7f00000, 1 }, { 0x4000000, 0x1000, 2 },
        { 5ull << 30, 1ull << 30, 1 }, { 1ull << 43, UINT64_MAX, 1 }, { 0x9f800, 0x800, 20 },
    };
    info_start();
    memcpy(tag(1, 8 + 11), "assume=mds", 11);
    ranges(map, 6);
    uint8_t *m = tag(3, 16 + 9);
    const uint32_t at[2] = { 0x200000, 0x201234 };
    memcpy(m, at, 8);
    memcpy(m + 8, "bin:vmm\0", 9);
    memset(tag(14, 8 + 20), 'o', 20);
    memset(tag(15, 8 + 36), 'n', 36);
    // As GRUB writes what grub.cfg calls "image:it's a \"b\" \c".
    static const char quoted[] = "\"image:it\\'s a \\\"b\\\" \\\\c\"";
    memcpy((uint8_t *)tag(3, 16 + sizeof(quoted)) + 8, quoted, sizeof(quoted));
    // The longest name that there can be, each of its bytes with a backslash before it.
    static char longest[16 + 6 + 2 * 255 + 1] = { [8] = 'i', 'm', 'a', 'g', 'e', ':' };
    for (unsigned i = 14; i < 14 + 2 * 255; i++)
        longest[i] = i % 2 == 0 ? '\\' : '\'';
    memcpy(tag(3, 8 + sizeof(longest) - 8), longest, sizeof(longest) - 8);
    memcpy((uint8_t *)tag(3, 16 + 13) + 8, "option:trace", 13);
    tag(0, 8);
    assert_null(boot(&f));
    assert_string_equal(f.info.options, "assume=mds trace ");
    assert_int_equal(f.info.modules, 4);
    assert_string_equal(f.info.module[1].name, "image:it's a \"b\" \\c");
    assert_int_equal(strlen(f.info.module[2].name), 6 + 255);
    assert_string_equal(strchr(f.info.module[2].name, 0) - 2, "\'\'");
    assert_string_equal(f.info.module[0].name, "bin:vmm");
    assert_int_equal(f.info.module[0].bytes, 0x1234);
    assert_int_equal(boot_memory.rsdp_bytes, 36);
    assert_int_equal(boot_memory.trampoline, 0x9e000);
    const struct memmap *u = &boot_memory.usable;
    static const uint64_t want[][2] = {
        { 0x180000, 0x200000 }, { 0x202000, 0x4000000 }, { 0x4001000, 0x8000000 },
        { 5ull << 30, 6ull << 30 }, { 1ull << 43, 1ull << 44 },
    };
    assert_int_equal(u->count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(u->range[i].base, want[i][0]);
        assert_int_equal(u->range[i].end, want[i][1]);
    }
    assert_int_equal(u->top, 1ull << 44);
    // What is usable, whoever uses it.
    assert_int_equal(f.info.ram, 0x9f000 + 0x7f00000 - 0x1000 + (1ull << 30) + (1ull << 43));
}

// A UEFI's: hundreds of pieces, in which the runtime services' code (20) and data (2), the
// firmware's tables (3), its own storage (4), bad memory (5) and what is not known here lie between
// usable ones. They stay what they are, also where a usable piece claims to cover them.
static void test_uefi_map(void **state)
{
    (void)state;
    static struct boot_facts f;
    enum { PIECES = 400 };
    static const uint64_t types[] = { 1, 1, 20, 1, 2, 3, 1, 4, 5, 1, 7, 0x80000001 };
    static uint64_t map[PIECES + 2][3];
    static bool usable[PIECES];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < PIECES; i++) {
        uint64_t type = types[i % ARRAY_SIZE(types)];
        memcpy(map[i], (uint64_t[]){ 0x1000000 + i * 0x3000, 0x3000, type }, sizeof(map[i]));
        usable[i] = type == 1;
        sum += usable[i] ? 0x3000 : 0;
    }
    memcpy(map[PIECES], (uint64_t[]){ 0x1000000, PIECES * 0x3000, 1 }, sizeof(map[0]));
    memcpy(map[PIECES + 1], (uint64_t[]){ 0, 0xa0000, 1 }, sizeof(map[0]));
    info_start();
    ranges((const uint64_t(*)[3])map, PIECES + 2);
    tag(0, 8);
    assert_null(boot(&f));
    const struct memmap *u = &boot_memory.usable;
    for (uint32_t i = 0; i < u->count; i++) {
        for (uint64_t at = u->range[i].base; at < u->range[i].end; at += 0x1000)
            assert_true(usable[(at - 0x1000000) / 0x3000]);
        sum -= u->range[i].end - u->range[i].base;
    }
    assert_int_equal(sum, 0);
    assert_int_equal(u->lost, 0);
}

// Which RSDP: the newer tag's, whichever comes first; the older one's where there is no other.
static void test_rsdp_tags(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 } };
    for (unsigned tags = 1; tags < 4; tags++) {
        for (unsigned newer_first = 0; newer_first < 2; newer_first++) {
            info_start();
            for (unsigned i = 0; i < 2; i++) {
                bool newer = i != newer_first;
                if (tags >> newer & 1)
                    memset(tag(newer ? 15 : 14, newer ? 8 + 36 : 8 + 20), newer ? 'n' : 'o',
                           newer ? 36 : 20);
            }
            ranges(map, 1);
            tag(0, 8);
            assert_null(boot(&f));
            assert_int_equal(boot_memory.rsdp_bytes, tags & 2 ? 36 : 20);
            assert_int_equal(*(const char *)boot_memory.rsdp, tags & 2 ? 'n' : 'o');
        }
    }
}

// More than fits is cut, and ends.
static void test_many_options(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 } };
    char text[201];
    memset(text, 'x', 200);
    text[200] = 0;
    for (unsigned count = 1; count < 4; count++) {
        memset(&f, 0, sizeof(f));
        info_start();
        ranges(map, 1);
        for (unsigned i = 0; i < count; i++)
            memcpy(tag(1, 8 + 201), text, 201);
        tag(0, 8);
        assert_null(boot(&f));
        assert_int_equal(strlen(f.info.options), count == 1 ? 201 : BOOT_OPTIONS_MAX - 1);
        assert_int_equal(f.info.options[200], ' ');
    }
}

static uint8_t *screen_tag(uint64_t at, uint32_t pitch, uint32_t width, uint32_t height,
                           uint8_t bits, uint8_t type)
{
    const uint32_t numbers[3] = { pitch, width, height };
    const uint8_t colours[6] = { 16, 8, 8, 8, 0, 8 };
    uint8_t *t = tag(8, type == 2 ? 32 : 38);
    memcpy(t, &at, 8);
    memcpy(t + 8, numbers, 12);
    t[20] = bits;
    t[21] = type;
    if (type != 2)
        memcpy(t + 24, colours, 6);
    return t;
}

static void screen_boot(struct boot_facts *f)
{
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 }, { 5ull << 30, 1ull << 30, 1 } };
    log_said[0] = 0;
    ranges(map, 2);
    tag(0, 8);
    assert_null(boot(f));
    info_start();
}

// VGA's text mode, as GRUB 2.06 says it on a BIOS, and pixels, as on OVMF.
static void test_screen(void **state)
{
    (void)state;
    static struct boot_facts f;
    info_start();
    screen_boot(&f);
    assert_int_equal(f.info.screen.width, 0);
    screen_tag(0xb8000, 160, 80, 25, 16, 2);
    screen_boot(&f);
    assert_int_equal(f.info.screen.hpa, 0xb8000);
    assert_int_equal(f.info.screen.pitch, 160);
    assert_int_equal(f.info.screen.height, 25);
    assert_true(f.info.screen.text);
    screen_tag(7ull << 30, 5120, 1280, 800, 32, 1);
    screen_boot(&f);
    assert_int_equal(f.info.screen.hpa, 7ull << 30);
    assert_int_equal(f.info.screen.width, 1280);
    assert_false(f.info.screen.text);
    assert_int_equal(f.info.screen.colour[0], 16);
    assert_int_equal(f.info.screen.colour[1], 8);
    assert_int_equal(f.info.screen.colour[2], 0);
    assert_string_equal(log_said, "");
}

// One that cannot be drawn on, or lies where there is RAM, is not used, and that is said.
static void test_screen_refused(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const struct {
        uint64_t at;
        uint32_t pitch, width, height;
        uint8_t bits, type;
        const char *why;
    } bad[] = {
        { 0xfd000000, 5120, 1280, 800, 24, 1, "pixels" },
        { 0xfd000000, 5120, 1280, 800, 32, 0, "pixels" }, // of a palette
        { 0xfd000000, 5116, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 5122, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000800, 5120, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 5120, 1280, 0, 32, 1, "cannot be" },
        { 0xfd000000, 5120, 7, 800, 32, 1, "cannot be" },
        { 0xfd000000, UINT32_MAX & ~3u, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 0, 0x80000000, 800, 16, 2, "cannot be" },
        { 0xfd000000, 160, 80, UINT32_MAX, 16, 2, "cannot be" },
        { 0x200000, 5120, 1280, 800, 32, 1, "cannot be" },
        { (5ull << 30) - PAGE_SIZE, 5120, 1280, 800, 32, 1, "cannot be" },
        { 1ull << 44, 5120, 1280, 800, 32, 1, "cannot be" },
        { UINT64_MAX - 4095, 5120, 1280, 800, 32, 1, "cannot be" },
    };
    info_start();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        screen_tag(bad[i].at, bad[i].pitch, bad[i].width, bad[i].height, bad[i].bits, bad[i].type);
        screen_boot(&f);
        assert_int_equal(f.info.screen.width, 0);
        assert_non_null(strstr(log_said, "the screen is not used: "));
        assert_non_null(strstr(log_said, bad[i].why));
    }
    screen_tag(0xfd000000, 5120, 1280, 800, 32, 1)[25] = 10; // bits of red
    screen_boot(&f);
    assert_non_null(strstr(log_said, "pixels"));
    memset(tag(8, 30), 1, 22);
    screen_boot(&f);
    assert_non_null(strstr(log_said, "neither text"));
}

static void test_damaged_tags(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 } };
    info_start();
    ranges(map, 1);
    memcpy(tag(3, 16 + 4) - 8 + 16, "abcd", 4); // no NUL
    memcpy(tag(1, 8 + 4), "abcd", 4);
    uint8_t *m = tag(3, 16 + 2); // ends before it begins
    const uint32_t at[2] = { 0x300000, 0x200000 };
    memcpy(m, at, 8);
    assert_null(boot(&f));
    assert_int_equal(f.info.modules, 0);
    assert_string_equal(f.info.options, "");
    put32(INFO + info_bytes - 24 + 4, 0x7fffffff); // a tag beyond the end
    assert_null(boot(&f));
    static const uint32_t totals[] = { 0, 7, 0x200000, UINT32_MAX };
    for (unsigned i = 0; i < 4; i++) {
        put32(INFO, totals[i]);
        assert_non_null(boot(&f));
    }
    assert_string_equal(multiboot_parse(1, INFO, (struct ram_range){ 0, 0 }, &f),
                        "not started by a Multiboot2 loader");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_loader, setup),
        cmocka_unit_test_setup(test_uefi_map, setup),
        cmocka_unit_test_setup(test_rsdp_tags, setup),
        cmocka_unit_test_setup(test_many_options, setup),
        cmocka_unit_test_setup(test_screen, setup),
        cmocka_unit_test_setup(test_screen_refused, setup),
        cmocka_unit_test_setup(test_damaged_tags, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
