# SPDX-License-Identifier: BSD-2-Clause
# What the folders' CMakeLists.txt build with. Every function takes
#   NAME SOURCES… [LIBS LIBRARY…] [DEFINES NAME=VALUE…]
# where a LIBRARY is one made by bulkhead_library(): the flavour that fits is chosen here.
#
#   bulkhead_library(NAME … [FLAVOURS ring3 guest host tool])   default ring3 host; targets NAME
#                               for ring 3, NAME-guest, NAME-host, NAME-tool; built if it is linked
#   bulkhead_process(NAME …)    target NAME: a ring-3 program, BUILD/boot/NAME
#   bulkhead_guest(NAME …)      target guest-NAME: a guest image, BUILD/images/NAME
#   bulkhead_host_tool(NAME …)  target NAME: a program for this machine, BUILD/host/NAME
#   bulkhead_unit_test(NAME …)  target test-NAME, BUILD/unit/NAME, ctest unit.NAME
#   bulkhead_fuzz(NAME … [DICT FILE])   target fuzz-NAME, BUILD/fuzz/NAME, ctest fuzz.NAME; clang
#                               only. Seeds are read from corpus/NAME beside the CMakeLists.txt;
#                               FILE, also there, is a dictionary for libFuzzer. SECONDS N: how
#                               long ctest runs it (3); the environment's BULKHEAD_FUZZ_SECONDS
#                               overrules that if it is more.

macro(bulkhead_parse)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS;DEFINES;FLAVOURS;OPTIONS;SECONDS;DICT")
endmacro()

# bulkhead_link(TARGET FLAVOUR LIBRARY…): links each library's flavour, or the library as it is.
function(bulkhead_link target flavour)
    foreach(library ${ARGN})
        set(flavoured ${library}-${flavour})
        target_link_libraries(${target} PRIVATE
            $<IF:$<TARGET_EXISTS:${flavoured}>,${flavoured},${library}>)
    endforeach()
endfunction()

function(bulkhead_library name)
    bulkhead_parse(${ARGV})
    if(NOT arg_FLAVOURS)
        set(arg_FLAVOURS ring3 host)
    endif()
    foreach(flavour ${arg_FLAVOURS})
        set(target ${name}-${flavour})
        if(flavour STREQUAL ring3)
            set(target ${name})
        endif()
        add_library(${target} STATIC EXCLUDE_FROM_ALL ${arg_UNPARSED_ARGUMENTS})
        target_compile_definitions(${target} PRIVATE ${arg_DEFINES})
        target_link_libraries(${target} PRIVATE bulkhead_${flavour} bulkhead_warnings)
        bulkhead_link(${target} ${flavour} ${arg_LIBS})
    endforeach()
endfunction()

# bulkhead_split_debug(TARGET): moves debug information to BUILD/debug, for all that a boot loader
# must read costs time on every boot.
function(bulkhead_split_debug target)
    set(debug ${CMAKE_BINARY_DIR}/debug)
    file(MAKE_DIRECTORY ${debug})
    add_custom_command(TARGET ${target} POST_BUILD VERBATIM
        COMMAND ${CMAKE_OBJCOPY} --only-keep-debug
                $<TARGET_FILE:${target}> ${debug}/$<TARGET_FILE_NAME:${target}>
        COMMAND ${CMAKE_STRIP} --strip-debug $<TARGET_FILE:${target}>)
endfunction()

function(bulkhead_process name)
    bulkhead_parse(${ARGV})
    add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
    target_compile_definitions(${name} PRIVATE ${arg_DEFINES})
    target_link_libraries(${name} PRIVATE bulkhead_ring3 bulkhead_warnings)
    bulkhead_link(${name} ring3 ${arg_LIBS})
    target_link_libraries(${name} PRIVATE -Wl,--start-group libc_port ${bulkhead_libc})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/boot)
    bulkhead_split_debug(${name})
endfunction()

function(bulkhead_guest name)
    bulkhead_parse(${ARGV})
    set(target guest-${name})
    set(script ${CMAKE_SOURCE_DIR}/guests/lib/guest.ld)
    add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
    target_compile_definitions(${target} PRIVATE ${arg_DEFINES})
    target_link_options(${target} PRIVATE LINKER:-T,${script})
    target_link_libraries(${target} PRIVATE bulkhead_guest bulkhead_warnings)
    bulkhead_link(${target} guest ${arg_LIBS})
    target_link_libraries(${target} PRIVATE -Wl,--start-group guest_lib ${bulkhead_libc})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/images
        LINK_DEPENDS ${script})
endfunction()

function(bulkhead_host_tool name)
    bulkhead_parse(${ARGV})
    add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
    target_compile_definitions(${name} PRIVATE ${arg_DEFINES})
    target_link_libraries(${name} PRIVATE bulkhead_tool bulkhead_warnings)
    bulkhead_link(${name} tool ${arg_LIBS})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/host)
endfunction()

function(bulkhead_unit_test name)
    bulkhead_parse(${ARGV})
    set(target test-${name})
    add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
    target_compile_definitions(${target} PRIVATE ${arg_DEFINES})
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
    target_link_libraries(${target} PRIVATE bulkhead_host bulkhead_warnings)
    bulkhead_link(${target} host ${arg_LIBS})
    target_link_libraries(${target} PRIVATE cmocka)
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
    add_test(NAME unit.${name} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120 LABELS unit
        ENVIRONMENT UBSAN_OPTIONS=print_stacktrace=1)
endfunction()

function(bulkhead_fuzz name)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL Clang)
        return()
    endif()
    bulkhead_parse(${ARGV})
    if(NOT arg_SECONDS)
        set(arg_SECONDS 3)
    endif()
    set(target fuzz-${name})
    set(seeds ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    set(found ${CMAKE_BINARY_DIR}/fuzz/corpus/${name})
    file(MAKE_DIRECTORY ${found})
    add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
    target_compile_definitions(${target} PRIVATE ${arg_DEFINES})
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${target} PRIVATE bulkhead_host bulkhead_warnings)
    bulkhead_link(${target} host ${arg_LIBS})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    if(NOT EXISTS ${seeds})
        set(seeds)
    endif()
    list(TRANSFORM arg_DICT PREPEND -dict=${CMAKE_CURRENT_SOURCE_DIR}/)
    add_test(NAME fuzz.${name}
        COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/run.sh $<TARGET_FILE:${target}> ${arg_SECONDS}
                -artifact_prefix=${CMAKE_BINARY_DIR}/fuzz/${name}- ${arg_DICT} ${found}
                ${seeds})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz COST ${arg_SECONDS})
endfunction()
