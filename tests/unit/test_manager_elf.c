// SPDX-License-Identifier: BSD-2-Clause
// The manager's ELF reader: a good file, and every way to spoil it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "kernel/abi/boot.h"
#include "libc/calls.h"
#include "tests/unit/elf_file.h"
#include "vmm/manager/elf.h"

static uint8_t *file;
static struct elf_image image;

static int setup(void **state)
{
    (void)state;
    // On the heap, and not a byte too long: ASan sees any read beyond.
    file = malloc(ELF_FILE_BYTES);
    elf_file_make(file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(file);
    return 0;
}

static const char *parse(void)
{
    return elf_parse(&image, file, ELF_FILE_BYTES);
}

static void test_good(void **state)
{
    (void)state;
    assert_null(parse());
    assert_int_equal(image.entry, 0x400200);
    assert_int_equal(image.segments, 3);
    assert_int_equal(image.segment[0].prot, PROT_READ | PROT_EXEC);
    assert_int_equal(image.segment[0].bytes, 0x1000);
    assert_int_equal(image.segment[1].prot, PROT_READ);
    assert_int_equal(image.segment[2].prot, PROT_READ | PROT_WRITE);
    assert_int_equal(image.segment[2].va, 0x402000);
    assert_int_equal(image.segment[2].lead, 0x10);
    assert_int_equal(image.segment[2].file_bytes, 0x30);
    assert_int_equal(image.segment[2].bytes, 0x11000);
}

// Overwrites `size` bytes of the header, or of program header 2, and expects a message with `text`.
static void spoil(uint32_t offset, uint64_t value, uint32_t size, const char *text)
{
    elf_file_make(file);
    elf_file_put(file, offset, value, size);
    const char *problem = parse();
    assert_non_null(problem);
    assert_non_null(strstr(problem, text));
}

static void test_bad_header(void **state)
{
    (void)state;
    spoil(0, 'x', 1, "no 64-bit");
    spoil(4, 1, 1, "no 64-bit");
    spoil(16, 3, 2, "no static");
    spoil(18, 3, 2, "no static");
    spoil(54, 55, 2, "out of bounds");
    spoil(56, 0xffff, 2, "out of bounds");
    spoil(32, UINT64_MAX - 10, 8, "out of bounds");
    spoil(32, ELF_FILE_BYTES - 100, 8, "out of bounds");
    spoil(24, 0x401000, 8, "entry");
    spoil(24, 0, 8, "entry");
    spoil(56, 0, 2, "entry");
}

static void test_bad_segment(void **state)
{
    (void)state;
    const uint32_t phdr = 64 + 2 * 56;
    spoil(phdr + 0, 3, 4, "dynamically");
    spoil(phdr + 0, 2, 4, "dynamically");
    spoil(phdr + 4, 7, 4, "writable and executable");
    spoil(phdr + 8, ELF_FILE_BYTES, 8, "out of the file");
    spoil(phdr + 8, UINT64_MAX, 8, "out of the file");
    spoil(phdr + 16, 0x1000, 8, "outside");
    spoil(phdr + 16, UINT64_MAX - 4095, 8, "outside");
    spoil(phdr + 16, 0x401ff0, 8, "overlap");
    spoil(phdr + 16, 0x400000, 8, "overlap");
    spoil(phdr + 32, 0x20000, 8, "out of the file");
    spoil(phdr + 40, 0x20, 8, "out of the file");
    spoil(phdr + 40, UINT64_MAX, 8, "outside");
    spoil(phdr + 40, 0x10000000, 8, "outside");
}

// A call at 0x400300 and one at 0x4007fe, the last two bytes of the text.
static void make_calls(void)
{
    elf_file_make(file);
    elf_file_put(file, 0x200 - 24, CALL_MAGIC, 8);
    elf_file_put(file, 0x200 - 16, 0x401000, 8);
    elf_file_put(file, 0x200 - 8, 0x401010, 8);
    elf_file_put(file, 0x1000, 0x400300, 8);
    elf_file_put(file, 0x1008, 0x4007fe, 8);
    elf_file_put(file, 0x300, CALL_INSN, 2);
    elf_file_put(file, 0x7fe, CALL_INSN, 2);
}

static const char *fit_calls(uint8_t memory[0x1000])
{
    assert_null(parse());
    memset(memory, 0, 0x1000);
    memcpy(memory, file, 0x800);
    return elf_fit_calls(&image, file, 0, memory, CALL_SYSENTER);
}

static void test_calls(void **state)
{
    (void)state;
    uint8_t memory[0x1000], as_it_was[0x800];
    make_calls();
    assert_null(fit_calls(memory));
    assert_memory_equal(memory + 0x300, "\x0f\x34", 2);
    assert_memory_equal(memory + 0x7fe, "\x0f\x34", 2);
    memcpy(as_it_was, file, sizeof(as_it_was));
    memcpy(memory + 0x300, file + 0x300, 2);
    memcpy(memory + 0x7fe, file + 0x7fe, 2);
    assert_memory_equal(memory, as_it_was, sizeof(as_it_was));
    // A segment that has none of them.
    assert_null(elf_fit_calls(&image, file, 1, memory, CALL_SYSENTER));
    assert_memory_equal(memory, as_it_was, sizeof(as_it_was));
    elf_file_put(file, 0x200 - 8, 0x401000, 8); // none at all
    assert_null(fit_calls(memory));
}

// Overwrites 8 bytes of a good file, and expects a message with `text` and no changed byte.
static void spoil_calls(uint32_t offset, uint64_t value, const char *text)
{
    uint8_t memory[0x1000];
    make_calls();
    elf_file_put(file, offset, value, 8);
    const char *problem = fit_calls(memory);
    assert_non_null(problem);
    assert_non_null(strstr(problem, text));
}

static void test_bad_calls(void **state)
{
    (void)state;
    spoil_calls(0x200 - 24, 0, "no table");
    spoil_calls(24, 0x400010, "no table"); // the entry point, with no room in front of it
    spoil_calls(0x200 - 16, 0x401011, "out of bounds"); // ends before it begins
    spoil_calls(0x200 - 16, 0x401001, "out of bounds"); // no whole number of them
    spoil_calls(0x200 - 8, 0x401028, "out of bounds");
    spoil_calls(0x200 - 8, UINT64_MAX, "out of bounds");
    spoil_calls(0x200 - 16, 0x500000, "out of bounds");
    spoil_calls(0x1000, 0x4007ff, "not in its code"); // half of it
    spoil_calls(0x1008, 0x401000, "not in its code");
    spoil_calls(0x1000, 0, "not in its code");
    spoil_calls(0x1000, UINT64_MAX, "not in its code");
    spoil_calls(0x1000, 0x400301, "names what is none");
    spoil_calls(0x1008, 0x400200, "names what is none");
}

static void test_short(void **state)
{
    (void)state;
    for (uint64_t len = 0; len < 64 + 3 * 56; len++) {
        uint8_t *copy = malloc(len + (len == 0));
        memcpy(copy, file, len);
        assert_non_null(elf_parse(&image, copy, len));
        free(copy);
    }
}

static void test_noise(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        elf_file_make(file);
        for (int i = 0; i < 4; i++) {
            file[rand() % (64 + 3 * 56)] = (uint8_t)rand();
        }
        if (parse() == NULL) {
            for (uint32_t i = 0; i < image.segments; i++) {
                const struct elf_segment *segment = &image.segment[i];
                assert_true(segment->offset + segment->file_bytes <= ELF_FILE_BYTES);
                assert_true(segment->lead + segment->file_bytes <= segment->bytes);
                assert_true(segment->va >= ELF_VA_START &&
                            segment->va + segment->bytes <= ELF_VA_END);
            }
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_good), TEST(test_bad_header), TEST(test_bad_segment), TEST(test_short),
        TEST(test_noise), TEST(test_calls), TEST(test_bad_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
